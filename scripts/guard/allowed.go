package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// allowance is a regression that is wanted.
type allowance struct {
	ratio float64
	why   string
}

// readAllowed reads the regressions that are wanted: on each line a benchmark, the ratio it may have, and why.
func readAllowed(file string) (map[string]allowance, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := map[string]allowance{}
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		words := strings.Fields(sc.Text())
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if len(words) < 3 {
			return nil, fmt.Errorf("%s: %q: want a benchmark, a ratio, and why", file, sc.Text())
		}
		ratio, err := strconv.ParseFloat(words[1], 64)
		if err != nil || ratio <= 1 {
			return nil, fmt.Errorf("%s: %q: the ratio must be a number above 1", file, sc.Text())
		}
		all[words[0]] = allowance{ratio, strings.Join(words[2:], " ")}
	}
	return all, nil
}
