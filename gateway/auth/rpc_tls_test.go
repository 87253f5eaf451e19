package auth

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/ringside-edge/ringside/gateway/auth/apprpc"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// yesApp lets everybody in.
type yesApp struct {
	apprpc.UnimplementedRPCServer
}

func (yesApp) Connect(context.Context, *apprpc.ConnectionRequest) (*apprpc.ConnectionResponse, error) {
	return &apprpc.ConnectionResponse{Status: apprpc.Status_SUCCESS, Identifiers: "somebody"}, nil
}

// secureApp serves yesApp with a certificate of a, and asks for one of the same authority; it returns its address.
func secureApp(t *testing.T, a *testcluster.Authority) string {
	t.Helper()
	certFile, keyFile := a.Issue(t, "app", net.IPv4(127, 0, 0, 1))
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.ClientConfig().RootCAs,
	})))
	apprpc.RegisterRPCServer(s, yesApp{})
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// An application that shows, and wants to see, a certificate is asked, one host or several; one of a strange authority is not, and one
// does not let in who shows nothing.
func TestRPCOverTLS(t *testing.T) {
	ours, strange := testcluster.NewAuthority(t), testcluster.NewAuthority(t)
	first, second := secureApp(t, ours), secureApp(t, ours)
	f := func(a *testcluster.Authority, shows bool, want string, hosts ...string) {
		t.Helper()
		c := ours.ClientConfig()
		c.RootCAs = a.ClientConfig().RootCAs
		if !shows {
			c.Certificates = nil
		}
		calls := calm()
		calls.Failures = 100
		g, err := New(Config{Queue: 1, RPC: &RPCConfig{Hosts: hosts, TLS: c, CallConfig: calls}}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		for range 4 { // in turn
			if got := connect(t, g); got != want {
				t.Errorf("%v, shows %v: got %q, want %q", hosts, shows, got, want)
			}
		}
	}
	f(ours, true, "", first)
	f(ours, true, "", first, second)
	f(strange, true, AppDown, first)
	f(ours, false, AppDown, first)
}
