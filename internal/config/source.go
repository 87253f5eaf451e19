package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// configFlag names the flag that names the file.
const configFlag = "config"

// setting is a value that stands somewhere other than on the command line.
type setting struct {
	value string
	where string // what to call it in an error: "RINGSIDE_JOIN", "router.yaml:7: join"
}

// sources gives kong what environment and file say. It is one resolver for both: kong by itself would let a
// resolver win over its own reading of the environment, so that a file would beat a variable.
type sources struct {
	env map[string]setting // by variable

	loaded bool // of file, at the first flag that is resolved
	file   map[string]setting
}

// Validate does nothing: what is unknown is refused before the first value is used.
func (s *sources) Validate(*kong.Application) error { return nil }

// Resolve is called for every flag that is not on the command line; nil means that nobody has set it.
func (s *sources) Resolve(ctx *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	if flag.Name == "help" {
		return nil, nil
	}
	set, ok := s.env[envName(flag.Name)]
	if !ok {
		set, ok = s.file[flag.Name]
	}
	if !ok {
		return nil, nil
	}
	if err := check(flag, set.value); err != nil {
		return nil, &settingError{fmt.Errorf("%s: %w", set.where, err)}
	}
	return set.value, nil
}

// settingError is an error that already names its key.
type settingError struct{ error }

// Explain is the error of a parse as a person should read it: kong puts the name of the flag that it was about
// to resolve before an error that already says which variable or line it is about.
func Explain(err error) error {
	if e, ok := errors.AsType[*settingError](err); ok {
		return e.error
	}
	return err
}

// load reads the file and refuses what nobody knows.
func (s *sources) load(ctx *kong.Context) error {
	if s.loaded {
		return nil
	}
	s.loaded = true
	if err := s.checkEnvironment(ctx.Model.Node); err != nil {
		return &settingError{err}
	}
	path := s.path(ctx)
	if path == "" {
		return nil
	}
	var err error
	if s.file, err = readFile(path); err != nil {
		return &settingError{err}
	}
	known := keys(ctx.Flags())
	for _, key := range sortedKeys(s.file) {
		if !slices.Contains(known, key) {
			return &settingError{fmt.Errorf("%s: unknown key for `%s`%s", s.file[key].where, ctx.Command(), suggest(key, known))}
		}
	}
	return nil
}

// path is the file's name: from the command line, else from the environment.
func (s *sources) path(ctx *kong.Context) string {
	for _, flag := range ctx.Flags() {
		if flag.Name != configFlag {
			continue
		}
		if name, _ := ctx.FlagValue(flag).(string); name != "" {
			return name
		}
		return s.env[envName(configFlag)].value
	}
	return ""
}

// keys are the names that a file may use, sorted: all but those whose field is tagged commandline, which say nothing of a node.
func keys(flags []*kong.Flag) []string {
	var names []string
	for _, f := range flags {
		if f.Name != "help" && f.Name != configFlag && !f.Tag.Has("commandline") {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

// check decodes a value as kong is about to, so that the error can say where it stands.
func check(flag *kong.Flag, value string) error {
	probe := reflect.New(flag.Target.Type()).Elem()
	scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, probe); err != nil {
		return err
	}
	if flag.Enum != "" && !slices.Contains(flag.EnumSlice(), value) {
		return fmt.Errorf("%q is not one of %s", value, strings.Join(flag.EnumSlice(), ", "))
	}
	return nil
}
