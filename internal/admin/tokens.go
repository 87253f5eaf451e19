package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	minToken      = 16 // bytes
	maxTokens     = 1000
	maxTokensFile = 1 << 20
	tokensRecheck = 2 * time.Second // how often a file is looked at again, while it is used
)

// Tokens are those of a file: one per line, behind it, where the file is of publishers, patterns of the topics that it is good for;
// none for all. Lines that begin with # are none. A file that changes is read anew; while it can't be, what was read last stays.
// Safe for concurrent use.
type Tokens struct {
	file   string
	topics bool
	log    *zap.Logger
	list   atomic.Pointer[[]tokenEntry]
	looked atomic.Int64 // when the file was last looked at, ms

	mu  sync.Mutex
	was []byte // guarded by mu: the file as it was read
}

// tokenEntry is a token, by its checksum: comparing them takes the same time for each.
type tokenEntry struct {
	sum    [sha256.Size]byte
	topics []string // nil: all
}

// ReadTokens reads a file. topics says whether patterns may stand behind the tokens.
func ReadTokens(file string, topics bool, log *zap.Logger) (*Tokens, error) {
	t := &Tokens{file: file, topics: topics, log: log}
	return t, t.read()
}

func (t *Tokens) read() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looked.Store(time.Now().UnixMilli())
	text, err := os.ReadFile(t.file)
	switch {
	case err != nil:
		return fmt.Errorf("tokens: %w", err)
	case t.was != nil && bytes.Equal(text, t.was):
		return nil
	case len(text) > maxTokensFile:
		return fmt.Errorf("tokens: %s is larger than %d bytes", t.file, maxTokensFile)
	}
	list, err := parseTokens(string(text), t.topics)
	if err != nil {
		return fmt.Errorf("tokens: %s: %w", t.file, err)
	}
	t.was = text
	t.list.Store(&list)
	return nil
}

func parseTokens(text string, topics bool) ([]tokenEntry, error) {
	var list []tokenEntry
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
			continue
		case len(fields[0]) < minToken:
			return nil, fmt.Errorf("line %d: a token of %d bytes is too short: want %d or more, for example from `openssl rand -hex 32`", n, len(fields[0]), minToken)
		case len(fields) > 1 && !topics:
			return nil, fmt.Errorf("line %d: something stands behind the token", n)
		case len(list) == maxTokens:
			return nil, fmt.Errorf("more than %d tokens", maxTokens)
		}
		e := tokenEntry{sum: sha256.Sum256([]byte(fields[0]))}
		if len(fields) > 1 {
			e.topics = fields[1:]
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, errors.New("holds no token")
	}
	return list, nil
}

// find is a token's entry; nil when there is none. It takes as long for every token.
func (t *Tokens) find(token string) *tokenEntry {
	if last := t.looked.Load(); time.Now().UnixMilli()-last > tokensRecheck.Milliseconds() && t.looked.CompareAndSwap(last, time.Now().UnixMilli()) {
		if err := t.read(); err != nil {
			t.log.Warn("cannot read the tokens anew; the ones that are known stay good", zap.Error(err))
		}
	}
	sum := sha256.Sum256([]byte(token))
	list := *t.list.Load()
	found := -1
	for i := range list {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(list[i].sum[:], sum[:]), i, found)
	}
	if found < 0 {
		return nil
	}
	return &list[found]
}
