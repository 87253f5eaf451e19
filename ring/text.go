package ring

import (
	"fmt"
	"slices"
	"strings"
)

//nolint:gochecknoglobals // constants in all but name
var (
	roleNames  = []string{"", "router", "gateway"}
	stateNames = []string{"", "joining", "active", "draining", "left"}
)

func name(names []string, i int) string {
	if i <= 0 || i >= len(names) {
		return "invalid"
	}
	return names[i]
}

func parse(what string, names []string, s string) (int, error) {
	if i := slices.Index(names[1:], s); i >= 0 {
		return i + 1, nil
	}
	return 0, fmt.Errorf("%.32q is no %s: want %s", s, what, strings.Join(names[1:], ", "))
}

// String is "router" or "gateway".
func (r Role) String() string { return name(roleNames, int(r)) }

// ParseRole is the inverse of [Role.String].
func ParseRole(s string) (Role, error) {
	i, err := parse("role", roleNames, s)
	return Role(i), err
}

// String is "joining", "active", "draining" or "left".
func (s State) String() string { return name(stateNames, int(s)) }

// ParseState is the inverse of [State.String].
func ParseState(s string) (State, error) {
	i, err := parse("state", stateNames, s)
	return State(i), err
}
