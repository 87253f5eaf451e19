// Package topicrule says how topics differ: a list of rules, each with patterns of topics and settings for those that
// match. It reads the list from a YAML file, strictly, and gives the settings of one topic.
//
//   - topics: odds.*            # one pattern or a list
//     slow: latest
//     key: symbol
//   - topics: [vip.*, backstage]
//     slow: close
//
// For each setting the first rule that matches the topic and sets it wins; what no rule sets has its default. Rules
// don't change while a process runs, and must be the same on all gateways: [Rules.Hash] shows whether they are.
//
// The package knows nothing of what the settings do.
package topicrule

import "hash/crc32"

// Slow is what becomes of a session that reads slower than its topic is published to.
type Slow uint8

// The policies. The zero value is the default.
const (
	// SlowGap lets it stand back in the topic's log, and tells it of a gap when it falls off.
	SlowGap Slow = iota
	// SlowLatest lets it pass over what newer messages have replaced.
	SlowLatest
	// SlowClose closes it, with a delay after which it may come back.
	SlowClose
	slows
)

// String is the name that the policy has in the file.
func (s Slow) String() string { return [slows]string{"gap", "latest", "close"}[s] }

// Rule is the settings of one topic. It is a value and compares with ==, but for slices that it may get.
type Rule struct {
	Slow Slow
	// Key is the field of a JSON payload whose values have a newest message each; empty for one of the whole topic. It means
	// something with SlowLatest only.
	Key string
}

// Rules is a list of rules. The nil list has none. It is immutable and safe for concurrent use.
type Rules struct {
	list []entry
	sum  uint32
}

// entry is a rule as it stands in the list: what is nil is not set by it.
type entry struct {
	patterns []pattern
	slow     *Slow
	key      *string
	auth     []string
}

// For is the settings of a topic. It takes time in proportion to the list's and the topic's length: call it once per
// topic and keep what it says.
func (r *Rules) For(topic string) Rule {
	var got entry
	if r != nil {
		for i := range r.list {
			if e := &r.list[i]; e.matches(topic) {
				first(&got.slow, e.slow)
				first(&got.key, e.key)
			}
		}
	}
	var rule Rule
	if got.slow != nil {
		rule.Slow = *got.slow
	}
	if got.key != nil && rule.Slow == SlowLatest {
		rule.Key = *got.key
	}
	return rule
}

// first sets *got, when it is not set yet.
func first[T any](got **T, v *T) {
	if *got == nil {
		*got = v
	}
}

func (e *entry) matches(topic string) bool {
	for i := range e.patterns {
		if e.patterns[i].match(topic) {
			return true
		}
	}
	return false
}

// Len is the number of rules.
func (r *Rules) Len() int {
	if r == nil {
		return 0
	}
	return len(r.list)
}

// Hash is a checksum of the file that the rules came from, byte by byte: equal on nodes with equal files, 0 without one.
func (r *Rules) Hash() uint32 {
	if r == nil {
		return 0
	}
	return r.sum
}

func checksum(text []byte) uint32 { return max(1, crc32.ChecksumIEEE(text)) }
