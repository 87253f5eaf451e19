package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// envPrefix begins the name of every variable that is ours.
const envPrefix = "RINGSIDE_"

// testPrefix begins the names of variables that the tests use and the program passes over.
const testPrefix = envPrefix + "TEST_"

// serviceLink matches the variables that Kubernetes sets in every pod for a Service whose name begins with
// "ringside": they are not ours and can't be refused.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// envName is the variable of a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// environment picks our variables out of os.Environ. An empty one counts as not set.
func environment(environ []string) map[string]setting {
	vars := map[string]setting{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, envPrefix) && !strings.HasPrefix(name, testPrefix) && value != "" {
			vars[name] = setting{value: value, where: name}
		}
	}
	return vars
}

// checkEnvironment refuses variables that no command knows. One that another command knows is fine: the nodes
// of a machine may share an environment.
func (s *sources) checkEnvironment(root *kong.Node) error {
	known := map[string]bool{}
	err := kong.Visit(root, func(v kong.Visitable, next kong.Next) error {
		if flag, ok := v.(*kong.Flag); ok && flag.Name != "help" {
			known[envName(flag.Name)] = true
		}
		return next(nil)
	})
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(s.env) {
		if !known[name] && !serviceLink.MatchString(name) {
			return fmt.Errorf("%s: unknown environment variable%s", name, suggest(name, slices.Sorted(maps.Keys(known))))
		}
	}
	return nil
}

func sortedKeys(m map[string]setting) []string { return slices.Sorted(maps.Keys(m)) }
