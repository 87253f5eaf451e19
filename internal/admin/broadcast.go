package admin

import (
	"errors"
	"net/http"

	"github.com/ringside-edge/ringside/internal/anycable"
	"github.com/ringside-edge/ringside/internal/topic"
)

// serveBroadcast takes what applications post that are set up for AnyCable: {"stream","data"}, a list of such, or a command. All of it is
// looked at before any is published; what is published is in the order of the list. The answer is 201, which they look for.
func (s *Server) serveBroadcast(w http.ResponseWriter, r *http.Request) error {
	if _, err := query(r); err != nil {
		return err
	}
	return s.withBody(w, r, s.single(s.cfg.MaxPayload+envelope), func(body []byte) error {
		p := anycable.Parse(body)
		if err := errors.Join(p.Bad...); err != nil {
			return refuse(http.StatusBadRequest, "json", `want {"stream":"…","data":"…"}, a list of such, or {"command":"disconnect","payload":{"identifier":"…"}}: `+p.Bad[0].Error())
		}
		for _, m := range p.Broadcasts {
			if err := topic.Validate(m.Stream); err != nil {
				return refuseTopic(err)
			}
			if !mayPublish(r, m.Stream) {
				return refuse(http.StatusForbidden, "topic_forbidden", "the token may not publish to this topic")
			}
			if len(m.Data) > s.cfg.MaxPayload {
				return refuse(http.StatusRequestEntityTooLarge, "too_large", "the data is too large")
			}
		}
		if len(p.Disconnects) > 0 && s.deps.Disconnect == nil {
			return refuse(http.StatusBadRequest, "command", "commands are taken by gateways, and where anycable-broadcasts is set")
		}
		ms := make([]Message, len(p.Broadcasts))
		for i, m := range p.Broadcasts {
			ms[i] = Message{Topic: m.Stream, Payload: m.Data}
		}
		for _, o := range s.deps.Publisher.Publish(r.Context(), ms) {
			if o.Err != nil {
				return refusePublish(o.Err)
			}
		}
		for _, d := range p.Disconnects {
			if err := s.deps.Disconnect(r.Context(), d.Identifiers, d.Reconnect); err != nil {
				return refusePublish(errors.Join(ErrUnavailable, err))
			}
		}
		w.WriteHeader(http.StatusCreated)
		return nil
	})
}
