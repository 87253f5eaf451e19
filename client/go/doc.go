// Package ringside follows topics of a Ringside cluster, and publishes to it, for services and tests.
//
// A [Session] is one connection that is opened anew as often as it must be. Whatever happens to routers and gateways, each message of each
// topic comes once and in order; what the cluster can't give any more is told as a [Gap], and what it can't vouch for as [Freshness]. The
// protocol is ringside.v1 (docs/PROTOCOL.md).
//
//	s, err := ringside.Connect(ctx, ringside.Config{URL: "wss://live.example", Topics: []string{"finals"}})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	for {
//		e, err := s.Next(ctx)
//		if err != nil {
//			return err
//		}
//		switch e := e.(type) {
//		case ringside.Message:
//			show(e.Topic, e.Data)
//		case ringside.Gap:
//			reload(e.Topic)
//		}
//	}
//
// Nothing is buffered between the socket and [Session.Next]: a caller that is slow stands back in the topic's log at the gateway, by the rule
// of the topic, and is told when it has fallen off.
package ringside
