package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/ringside-edge/ringside/gateway/auth/apprpc"
)

// RPCConfig is how an application is asked by gRPC.
type RPCConfig struct {
	Hosts []string    // host:port; a name with several addresses, and several hosts, are asked in turn
	TLS   *tls.Config // nil: none
	CallConfig
}

// maxAppAnswer bounds what an application may answer, in bytes.
const maxAppAnswer = 1 << 20

// rpcApp is an application behind gRPC.
type rpcApp struct {
	conn   *grpc.ClientConn
	client apprpc.RPCClient
}

// roundRobin spreads calls over all addresses that take connections.
const roundRobin = `{"loadBalancingConfig":[{"round_robin":{}}]}`

func newRPC(cfg *RPCConfig) (*rpcApp, error) {
	creds := insecure.NewCredentials()
	if cfg.TLS != nil {
		creds = credentials.NewTLS(cfg.TLS)
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(roundRobin),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAppAnswer)),
		// By itself it would try again after two minutes at last, when the application has been back for long.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		// Finds an application that is gone without a word before calls run into their time-out.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 5 * time.Second}),
	}
	var target string
	switch len(cfg.Hosts) {
	case 0:
		return nil, errors.New("rpc-host names no host")
	case 1:
		target = "dns:///" + cfg.Hosts[0]
	default:
		r := manual.NewBuilderWithScheme("hosts")
		var state resolver.State
		for _, h := range cfg.Hosts {
			name, _, err := net.SplitHostPort(h)
			if err != nil {
				return nil, fmt.Errorf("rpc-host: %w", err)
			}
			state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: h, ServerName: name}}})
		}
		r.InitialState(state)
		opts = append(opts, grpc.WithResolvers(r))
		target = "hosts:///application"
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("rpc-host: %w", err)
	}
	return &rpcApp{conn: conn, client: apprpc.NewRPCClient(conn)}, nil
}

func (a *rpcApp) close() { _ = a.conn.Close() }

// outgoing adds what AnyCable tells beside each call.
func outgoing(ctx context.Context, session uint64) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "sid", sessionName(session), "protov", "v1")
}

// sessionName is a session's ID as clients and applications see it.
func sessionName(session uint64) string {
	s := strconv.FormatUint(session, 16)
	return strings.Repeat("0", 16-len(s)) + s
}

func env(app *App) *apprpc.Env {
	return &apprpc.Env{Url: valid(app.URL), Headers: app.Headers, Cstate: app.State}
}

// valid is s as protobuf takes it.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (a *rpcApp) connect(ctx context.Context, r *Request, app *App) (verdict, error) {
	resp, err := a.client.Connect(outgoing(ctx, r.Session), &apprpc.ConnectionRequest{Env: env(app)})
	if err != nil {
		return verdict{}, rpcFailure(err)
	}
	return verdict{
		status: rpcStatus(resp.GetStatus()), message: resp.GetErrorMsg(), identifiers: resp.GetIdentifiers(), state: resp.GetEnv().GetCstate(),
	}, nil
}

func (a *rpcApp) command(ctx context.Context, session uint64, app *App, c Command) (verdict, error) {
	e := env(app)
	e.Istate = c.State
	resp, err := a.client.Command(outgoing(ctx, session), &apprpc.CommandMessage{
		Command: valid(c.Name), Identifier: valid(c.Identifier), ConnectionIdentifiers: app.Identifiers, Data: valid(c.Data), Env: e,
	})
	if err != nil {
		return verdict{}, rpcFailure(err)
	}
	return verdict{
		status: rpcStatus(resp.GetStatus()), message: resp.GetErrorMsg(), state: resp.GetEnv().GetCstate(),
		answer: Answer{
			Transmissions: resp.GetTransmissions(), Streams: resp.GetStreams(), Stopped: resp.GetStoppedStreams(), StopAll: resp.GetStopStreams(),
			Disconnect: resp.GetDisconnect(), State: resp.GetEnv().GetIstate(),
		},
	}, nil
}

func (a *rpcApp) disconnect(ctx context.Context, session uint64, app *App, topics []string) (verdict, error) {
	resp, err := a.client.Disconnect(outgoing(ctx, session), &apprpc.DisconnectRequest{
		Identifiers: app.Identifiers, Subscriptions: topics, Env: env(app),
	})
	if err != nil {
		return verdict{}, rpcFailure(err)
	}
	return verdict{status: rpcStatus(resp.GetStatus()), message: resp.GetErrorMsg()}, nil
}

func rpcStatus(s apprpc.Status) status {
	switch s {
	case apprpc.Status_SUCCESS:
		return statusYes
	case apprpc.Status_FAILURE:
		return statusNo
	case apprpc.Status_ERROR:
	}
	return statusError
}

// rpcFailure tells an application that fails from one that is not there.
func rpcFailure(err error) error {
	switch grpcstatus.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted:
		return err
	default:
		return &strangeError{grpcstatus.Code(err).String()}
	}
}
