package admin

import (
	"net/http"
	"testing"

	"github.com/ringside-edge/ringside/internal/certs"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// Over TLS connections are bounded as well: those that make no handshake, or whose client only holds on to them, make room for who asks, by HTTP/1 and
// by HTTP/2.
func TestConnectionsOverTLS(t *testing.T) {
	const most = 8
	ours := newAuthority(t)
	cert, key := ours.issue("port", false)
	server, err := certs.Server(certs.Files{CA: ours.file, Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	p := startWith(t, Config{Listen: "127.0.0.1:0", Self: "g1", MaxPayload: testPayload, Connections: most, Trust: Trust{TLS: server}}, true, nil)
	mine, myKey := ours.issue("client", false)
	for _, http2 := range []bool{false, true} {
		for range most + spare {
			p.client(t) // which says nothing
		}
		evicted := p.crowd.evicted.Load()
		var kept []*http.Transport
		ask := func() bool {
			client, err := certs.Client(certs.Files{CA: ours.file, Cert: mine, Key: myKey}, "")
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+p.Addr()+"/ring", nil)
			if err != nil {
				t.Fatal(err)
			}
			tr := &http.Transport{TLSClientConfig: client, ForceAttemptHTTP2: http2}
			kept = append(kept, tr) // its connection stays open
			resp, err := tr.RoundTrip(req)
			if err != nil { // it was one too many
				return false
			}
			defer resp.Body.Close()
			if got := resp.ProtoMajor == 2; got != http2 {
				t.Errorf("HTTP/%d", resp.ProtoMajor)
			}
			return resp.StatusCode == http.StatusOK
		}
		for range most + 1 { // the last ones make room for each other
			testcluster.Soon(t, "somebody gets in", ask)
		}
		if p.crowd.evicted.Load() == evicted {
			t.Error("nobody has made room")
		}
		for _, tr := range kept {
			tr.CloseIdleConnections()
		}
	}
}
