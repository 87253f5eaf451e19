package gossip

import (
	"bytes"
	"fmt"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

// Unremembered are the registers, as they travel, of which the memory is not known to have what this node has; and those
// that it may forget, because they are deletions of long ago. A memory is something that outlives the cluster and does the
// same with registers as nodes do: of two it keeps the greater one. The maps are the caller's.
func (s *Settings) Unremembered() (keep map[string][]byte, forget map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep, forget = map[string][]byte{}, map[string][]byte{}
	now := s.now()
	for name, r := range s.registers {
		if !bytes.Equal(s.remembered[name], r.wire) && !r.stale(now) {
			keep[name] = r.wire
		}
	}
	for name, wire := range s.remembered {
		if r, err := decodeRegister(name, wire); err == nil && r.stale(now) {
			forget[name] = wire
		}
	}
	return keep, forget
}

// Remembered takes in all that the memory has. What it has of a register that this node has a later one of is asked for
// again by Unremembered.
func (s *Settings) Remembered(all map[string][]byte, refused int) {
	var rs []Register
	bad := 0
	for name, wire := range all {
		if r, err := decodeRegister(name, wire); err == nil {
			rs = append(rs, r)
		} else {
			bad++
		}
	}
	s.mu.Lock()
	s.remembered, s.asked = all, true
	s.mu.Unlock()
	if refused > 0 {
		s.refused.WithLabelValues(refusedMemory).Add(float64(refused))
		if s.warn.mayWarn(refusedMemory, s.now()) {
			s.log.Warn("some settings are not remembered: this node's clock is far ahead of the memory's, or there are too many of them")
		}
	}
	s.received(rs, bad)
}

// SettingsStatus is how the settings stand.
type SettingsStatus struct {
	Registers    int    // deletions included
	Bytes        int    // of all of them
	Unremembered int    // that the memory is not known to have
	Asked        bool   // the memory has answered since the node was started
	Changes      uint64 // so far
}

// Status is how the settings stand.
func (s *Settings) Status() SettingsStatus {
	keep, _ := s.Unremembered()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SettingsStatus{Registers: len(s.registers), Unremembered: len(keep), Asked: s.asked, Changes: s.changes}
	for name, r := range s.registers {
		st.Bytes += len(name) + len(r.wire)
	}
	return st
}

//nolint:gochecknoglobals // descriptors are constants in all but name
var (
	descRegisters     = desc("settings", "Settings that were made at run time, deleted ones of the last 30 days included.")
	descRegisterLimit = desc("settings_limit", "Bound of ringside_gossip_settings.")
	descRegisterBytes = desc("settings_bytes", "Bytes of the settings: what nodes exchange in full every 10 s.")
	descUnremembered  = desc("settings_unremembered", "Settings that are not known to be in Redis yet: a restart of all nodes at once would lose them.")
	descSettings      = desc("settings_changes_total", "Changes of settings, from wherever.")
)

// Describe implements prometheus.Collector.
func (s *Settings) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

// Collect implements prometheus.Collector.
func (s *Settings) Collect(ch chan<- prometheus.Metric) {
	st := s.Status()
	for d, v := range map[*prometheus.Desc]int{
		descRegisters: st.Registers, descRegisterLimit: maxRegisters, descRegisterBytes: st.Bytes, descUnremembered: st.Unremembered,
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	ch <- prometheus.MustNewConstMetric(descSettings, prometheus.CounterValue, float64(st.Changes))
	s.refused.Collect(ch)
}

// Invalidates implements memberlist.Broadcast.
func (b registerBroadcast) Invalidates(o memberlist.Broadcast) bool {
	other, ok := o.(registerBroadcast)
	return ok && other.r.Name == b.r.Name
}

// Name implements memberlist.NamedBroadcast. No node's load is called so.
func (b registerBroadcast) Name() string { return fmt.Sprintf("%c\x00%s", registerTag, b.r.Name) }

// Message implements memberlist.Broadcast.
func (b registerBroadcast) Message() []byte { return b.r.message() }

// Finished implements memberlist.Broadcast.
func (registerBroadcast) Finished() {}
