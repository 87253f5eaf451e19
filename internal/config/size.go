package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes, written like 512, 64KiB or 1MiB.
type Size int64

// units are the suffixes of a size, the longest first.
var units = [...]struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// ParseSize reads a size: a whole number, with B, KiB, MiB, GiB or nothing after it.
func ParseSize(s string) (Size, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(digits, " "), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.bytes || strings.HasPrefix(digits, "+") {
			break
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size: want a whole number of bytes, for example 512, 64KiB or 1MiB", s)
}

// String writes the size with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units {
		if n := int64(s); u.bytes > 1 && n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
