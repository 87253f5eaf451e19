package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Options make a kong application read settings as this package says: env is the environment, as os.Environ
// gives it. Flags of type int, time.Duration and [Size] must lie within the min and max of their tags.
func Options(env []string) []kong.Option {
	return []kong.Option{
		kong.Resolvers(&sources{env: environment(env)}),
		kong.KindMapper(reflect.Int, bounded(strconv.Atoi, "a whole number", "for example 4")),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), bounded(time.ParseDuration, "a duration", "for example 500ms, 30s, 5m or 1h30m")),
		kong.TypeMapper(reflect.TypeFor[Size](), bounded(ParseSize, "a size", "for example 512, 64KiB or 1MiB")),
		kong.ValueFormatter(Describe),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	}
}

// bounded decodes a number that parse reads, within the bounds that stand in the field's tag.
func bounded[T int | time.Duration | Size](parse func(string) (T, error), kind, examples string) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto(kind, &text); err != nil {
			return err
		}
		tag := ctx.Value.Tag
		accepts := "want " + kind + ", " + examples + within(tag.Get("min"), tag.Get("max"))
		v, err := parse(text)
		if err != nil {
			return fmt.Errorf("%q is not %s: %s", text, kind, accepts)
		}
		if low := tag.Get("min"); low != "" && v < mustParse(parse, low) {
			return fmt.Errorf("%s is too small: %s", text, accepts)
		}
		if high := tag.Get("max"); high != "" && v > mustParse(parse, high) {
			return fmt.Errorf("%s is too large: %s", text, accepts)
		}
		target.SetInt(int64(v))
		return nil
	}
}

// Describe is the help of a flag: with its bounds, and the variable that it is read from where it is not given.
func Describe(v *kong.Value) string {
	if v.Flag == nil || v.Flag.Name == "help" {
		return describe(v)
	}
	return describe(v) + " ($" + envName(v.Flag.Name) + ")"
}

// describe is the help of a setting with its bounds.
func describe(v *kong.Value) string {
	bounds := strings.TrimPrefix(within(v.Tag.Get("min"), v.Tag.Get("max")), ", ")
	if bounds != "" && bounds != "at least 0" { // nobody would think otherwise
		return v.Help + " " + strings.ToUpper(bounds[:1]) + bounds[1:] + "."
	}
	return v.Help
}

func within(low, high string) string {
	switch {
	case low != "" && high != "":
		return ", from " + low + " to " + high
	case low != "":
		return ", at least " + low
	case high != "":
		return ", at most " + high
	}
	return ""
}

func mustParse[T any](parse func(string) (T, error), bound string) T {
	v, err := parse(bound)
	if err != nil {
		panic(fmt.Sprintf("BUG: config: bound %q in a tag: %v", bound, err))
	}
	return v
}
