package topicrule

import (
	"errors"
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// authMethods are the ways to authenticate that a rule can demand.
//
//nolint:gochecknoglobals // a constant
var authMethods = []string{"open", "jwt", "rpc", "webhook"}

// Auth is what a topic demands of who wants to follow it, in order; set is false where no rule says anything. Like [Rules.For] it
// takes time in proportion to the list's and the topic's length.
func (r *Rules) Auth(topic string) (methods []string, set bool) {
	if r == nil {
		return nil, false
	}
	for i := range r.list {
		if e := &r.list[i]; e.auth != nil && e.matches(topic) {
			return e.auth, true
		}
	}
	return nil, false
}

// Demands are all lists of methods that rules have.
func (r *Rules) Demands() (lists [][]string) {
	if r == nil {
		return nil
	}
	for i := range r.list {
		if a := r.list[i].auth; a != nil {
			lists = append(lists, a)
		}
	}
	return lists
}

func setAuth(e *entry, v *yaml.Node) (line int, err error) {
	items := []*yaml.Node{v}
	if v.Kind == yaml.SequenceNode {
		items = v.Content
	}
	for _, item := range items {
		text, err := scalar(item)
		switch {
		case err != nil:
			return item.Line, err
		case !slices.Contains(authMethods, text):
			return item.Line, fmt.Errorf("%.64q: want open, or of jwt, rpc and webhook those that have to agree", text)
		case slices.Contains(e.auth, text):
			return item.Line, fmt.Errorf("%s is there twice", text)
		}
		e.auth = append(e.auth, text)
	}
	switch {
	case len(e.auth) == 0:
		return v.Line, errors.New("want one method at least; open for none")
	case len(e.auth) > 1 && slices.Contains(e.auth, "open"):
		return v.Line, errors.New("open stands alone")
	case slices.Contains(e.auth, "rpc") && slices.Contains(e.auth, "webhook"):
		return v.Line, errors.New("rpc and webhook exclude each other: there is one application")
	}
	return 0, nil
}
