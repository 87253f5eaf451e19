package main

import (
	"fmt"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/testcluster"
)

// truth is what stands in Redis, topic by topic: all streams, read anew, with their entries in order.
func (p *press) truth() (map[string][]entry, error) {
	redis, err := testcluster.DialRedis(p.a.cluster.redis.Addr)
	if err != nil {
		return nil, err
	}
	defer redis.Close()
	truth := map[string][]entry{}
	for slot := range 256 {
		from := "-"
		for from != "" {
			v, err := redis.Do("XRANGE", fmt.Sprintf("ringside:{%d}:%d:stream", slot/16, slot), from, "+", "COUNT", "500")
			if err != nil {
				return nil, fmt.Errorf("cannot read slot %d: %w", slot, err)
			}
			rows, _ := v.([]any)
			from = ""
			for _, row := range rows {
				id, err := p.row(truth, row)
				if err != nil {
					return nil, fmt.Errorf("slot %d: %w", slot, err)
				}
				if len(rows) == 500 {
					from = "(" + id.String()
				}
			}
		}
	}
	return truth, nil
}

// row puts one entry of a stream where it belongs. Beacons have no topic.
func (p *press) row(truth map[string][]entry, row any) (position.ID, error) {
	pair, _ := row.([]any)
	if len(pair) != 2 {
		return position.ID{}, fmt.Errorf("cannot read the stream entry %v", row)
	}
	text, _ := pair[0].(string)
	id, err := position.ParseID(text)
	if err != nil {
		return id, err
	}
	fields, _ := pair[1].([]any)
	topic, body := "", ""
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		value, _ := fields[i+1].(string)
		switch name {
		case "topic":
			topic = value
		case "payload":
			body = value
		}
	}
	if topic != "" {
		truth[topic] = append(truth[topic], entry{ID: id, Sum: p.a.sum([]byte(body)), Name: clip(body)})
	}
	return id, nil
}

// clip is the beginning of a payload, where its name stands.
func clip(body string) string { return fmt.Sprintf("%.40q", body) }
