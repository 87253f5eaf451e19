package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

const (
	slots     = 256
	truthPage = 500 // entries that one call reads
)

func streamKey(slot int) string { return fmt.Sprintf("ringside:{%d}:%d:stream", slot/16, slot) }

// shot is what stands in all streams at one moment.
type shot [slots][]row

// read adds what has come to the streams since the last call; nothing may have been lost meanwhile. sum stands for payloads.
func (s *shot) read(redis *testcluster.Redis, sum func([]byte) uint64) error {
	for slot := range slots {
		for more := true; more; {
			v, err := redis.Do("XRANGE", streamKey(slot), s.from(slot), "+", "COUNT", fmt.Sprint(truthPage))
			if err != nil {
				return fmt.Errorf("cannot read slot %d: %w", slot, err)
			}
			n, err := s.add(slot, v, sum)
			if err != nil {
				return err
			}
			more = n == truthPage
		}
	}
	return nil
}

// from is where to read on.
func (s *shot) from(slot int) string {
	if rows := s[slot]; len(rows) > 0 {
		return "(" + rows[len(rows)-1].ID.String()
	}
	return "-"
}

// take reads what is missing and empties Redis, in one: nothing comes between.
func (s *shot) take(redis *testcluster.Redis, sum func([]byte) uint64) error {
	if err := s.read(redis, sum); err != nil { // most of it: Redis is to stand still but for a moment
		return err
	}
	if _, err := redis.Do("MULTI"); err != nil {
		return err
	}
	for slot := range slots {
		if _, err := redis.Do("XRANGE", streamKey(slot), s.from(slot), "+"); err != nil {
			return err
		}
	}
	if _, err := redis.Do("FLUSHALL"); err != nil {
		return err
	}
	v, err := redis.Do("EXEC")
	if err != nil {
		return fmt.Errorf("cannot empty Redis: %w", err)
	}
	list, _ := v.([]any)
	if len(list) != slots+1 {
		return fmt.Errorf("redis answered with %d parts when it was to be emptied, want %d", len(list), slots+1)
	}
	for slot := range slots {
		if _, err := s.add(slot, list[slot], sum); err != nil {
			return err
		}
	}
	return nil
}

// add adds what XRANGE has answered, and returns how many entries that were.
func (s *shot) add(slot int, answer any, sum func([]byte) uint64) (int, error) {
	list, _ := answer.([]any)
	for _, one := range list {
		r, err := parseRow(one, sum)
		if err != nil {
			return 0, fmt.Errorf("slot %d: %w", slot, err)
		}
		s[slot] = append(s[slot], r)
	}
	return len(list), nil
}

// parseRow reads an entry. What is no message keeps its content as its name, so that two of them can be told apart.
func parseRow(one any, sum func([]byte) uint64) (r row, err error) {
	pair, _ := one.([]any)
	if len(pair) != 2 {
		return r, fmt.Errorf("cannot read the stream entry %v", one)
	}
	text, _ := pair[0].(string)
	if r.ID, err = position.ParseID(text); err != nil {
		return r, err
	}
	fields, _ := pair[1].([]any)
	for f := range slices.Chunk(fields, 2) {
		name, _ := f[0].(string)
		value, _ := f[len(f)-1].(string)
		switch name {
		case "topic":
			r.Topic = value
		case "payload":
			r.Sum, r.Name = sum([]byte(value)), clip(value)
		case "epoch", "beacon":
			if len(fields) > 2 {
				continue
			}
			r.Name = name + " " + value
			if name == "epoch" {
				number, _, _ := strings.Cut(value, " ")
				if _, err := fmt.Sscan(number, &r.Mark); err != nil || r.Mark == 0 {
					return r, fmt.Errorf("the mark %v has no epoch: %q", r.ID, value)
				}
			}
		}
	}
	return r, nil
}

// clip is the beginning of a payload, where its name stands.
func clip(body string) string { return fmt.Sprintf("%.40q", body) }

// truth reads what stands in Redis now, and puts it together with what faults have taken away.
func (r *run) truth() (truth, error) {
	redis, err := r.cluster.redis.dial()
	if err != nil {
		return nil, err
	}
	defer redis.Close()
	var last shot
	if err := last.read(redis, r.crowd.sum); err != nil {
		return nil, err
	}
	held := truth{}
	for slot := range slots {
		var list [][]row
		for _, s := range r.cluster.redis.shots {
			list = append(list, s[slot])
		}
		held[slot] = livesOf(append(list, last[slot]))
	}
	return held, nil
}
