package gateway

import (
	"fmt"
	"strings"

	"github.com/ringside-edge/ringside/internal/position"
	"github.com/ringside-edge/ringside/internal/topicrule"
)

// view is what a client has been told of one topic, held against the truth. It is where the guarantee is written down: within an
// epoch positions only grow; every message is one that was published, comes at most once, and in order; and what was published
// behind the point where the view began and did not come lies in a gap that the client was told of, for a reason that there was.
type view struct {
	topic   string
	rule    topicrule.Rule
	truth   *truth
	greeted bool
	resumed bool              // the client has brought a position
	foreign bool              // which was made up
	slow    bool              // the client has stopped reading
	at      position.Position // the newest that the client knows
	seen    map[string]*fact  // by idempotency key
	passed  []*fact           // did not come, perhaps because they repeat another
	told    position.ID       // the client knows that up to there messages were passed over that newer ones have replaced
	owed    *fact             // was lost before it came: the client has to be told of a new epoch
	stray   bool              // and has to be told so
	past    []position.Position
	got     position.ID // the newest message
	asked   position.ID // the end of the stream when the client asked for it
	leaving bool        // the client wants no more of it
}

// word is what a client hears.
type word struct {
	kind      string // of ringside.v1, or closed
	topic     string
	at, after position.Position
	until     position.Position // skipped
	count     int               // skipped
	reason    string
	payload   string
}

func (w word) String() string {
	s := fmt.Sprintf("%s %s %v", w.kind, w.topic, w.at)
	if w.kind == "gap" {
		s += fmt.Sprintf(" %s after %v", w.reason, w.after)
	}
	if w.kind == "message" {
		s += fmt.Sprintf(" %.40q", w.payload)
	}
	return s
}

// hear judges a word about the topic.
func (v *view) hear(w word) error {
	was := v.at
	err := v.judge(w)
	if err != nil {
		return fmt.Errorf("%v, at %v: %w", w, was, err)
	}
	if v.at != was && !v.foreign || len(v.past) == 0 {
		v.past = append(v.past, v.at)
	}
	return nil
}

func (v *view) judge(w word) error {
	if w.kind == "skipped" {
		return v.skipped(w)
	}
	if _, known := v.truth.epochs[w.at.Epoch]; !known && !(v.foreign && w.at.Epoch == v.at.Epoch) {
		return fmt.Errorf("an epoch that the stream never had")
	}
	switch greeting := w.kind == "welcome" || w.kind == "subscribed"; {
	case greeting && !v.greeted:
		return v.greet(w)
	case !v.greeted:
		return fmt.Errorf("it comes before the greeting")
	case w.kind == "welcome":
		return fmt.Errorf("a second welcome")
	case w.kind == "gap":
		return v.gap(w)
	case w.kind == "message":
		return v.message(w)
	case greeting || w.kind == "heartbeat":
		return v.moveOn(w.at)
	}
	return fmt.Errorf("an unknown kind")
}

func (v *view) greet(w word) error {
	v.greeted = true
	if v.resumed {
		if w.at != v.at {
			return fmt.Errorf("the client asked for %v", v.at)
		}
		return nil
	}
	if v.at = w.at; v.truth.top().Less(w.at.ID) {
		return fmt.Errorf("nothing has been published there yet")
	}
	return nil
}

func (v *view) message(w word) error {
	f := v.truth.at(w.at.ID)
	switch {
	case f == nil:
		return fmt.Errorf("nothing was ever published there")
	case f.topic != v.topic || f.payload != w.payload:
		return fmt.Errorf("what was published there is %v", f)
	case w.at.Epoch == v.at.Epoch && !v.at.ID.Less(w.at.ID):
		return fmt.Errorf("it comes twice, or out of order")
	}
	if err := v.moveOn(position.Position{Epoch: w.at.Epoch, ID: w.at.ID.Prev()}); err != nil {
		return err
	}
	v.at, v.got = w.at, w.at.ID
	if f.key == "" {
		return nil
	}
	if first := v.seen[f.key]; first != nil && first.fate != lost {
		return fmt.Errorf("it has the same id as %v", first)
	}
	v.seen[f.key] = f
	return nil
}

// moveOn takes the view to a position without a gap: everything up to there must have come.
func (v *view) moveOn(to position.Position) error {
	switch {
	case to.Epoch != v.at.Epoch:
		return fmt.Errorf("the epoch changes without a gap")
	case to.ID.Less(v.at.ID):
		return fmt.Errorf("the position goes back")
	}
	for _, f := range v.truth.behind(v.at.ID, to.ID) {
		switch {
		case f.topic != v.topic:
		case f.lost:
			v.owed = f
		case !v.told.Less(f.id) && v.replaced(f):
		case v.truth.doubtful(f):
			v.passed = append(v.passed, f)
		default:
			return fmt.Errorf("%v did not come", f)
		}
	}
	if v.at.ID.Less(to.ID) {
		v.at = to
	}
	return nil
}

// skipped takes word of messages that the client does not get. With buffers as small as its are, one that reads all the time is behind too,
// now and then.
func (v *view) skipped(w word) error {
	switch {
	case v.rule.Slow != topicrule.SlowLatest:
		return fmt.Errorf("slow clients of the topic miss nothing")
	case !v.greeted || w.after.Epoch != v.at.Epoch || w.until.Epoch != v.at.Epoch || w.until.ID.Less(w.after.ID):
		return fmt.Errorf("up to %v", w.until)
	}
	if err := v.moveOn(w.after); err != nil {
		return err
	}
	n := 0
	for _, f := range v.truth.behind(w.after.ID, w.until.ID) {
		if f.topic == v.topic {
			n++
		}
	}
	if w.count < 1 || w.count > n {
		return fmt.Errorf("%d of %d up to %v", w.count, n, w.until)
	}
	if v.told.Less(w.until.ID) {
		v.told = w.until.ID
	}
	return nil
}

// replaced reports whether there is a newer message that takes the place of f.
func (v *view) replaced(f *fact) bool {
	if v.rule.Slow != topicrule.SlowLatest {
		return false
	}
	key, keyed := f.keyBy(v.rule)
	for _, o := range v.truth.behind(f.id, v.truth.top()) {
		if k, ok := o.keyBy(v.rule); o.topic == v.topic && keyed && ok && k == key {
			return true
		}
	}
	return false
}

// keyBy is what newer messages replace f by. The payloads of a case are JSON that is written in one way, or none.
func (f *fact) keyBy(rule topicrule.Rule) (key string, ok bool) {
	if rule.Key == "" {
		return "", true
	}
	_, rest, ok := strings.Cut(f.payload, `"`+rule.Key+`":`)
	key, _, _ = strings.Cut(rest, ",")
	return key, ok
}

// gap looks whether there is a reason for a gap, and whether it is as large as that.
func (v *view) gap(w word) error {
	if err := v.moveOn(w.after); err != nil { // of what lies before it all has come
		return fmt.Errorf("what it is after: %w", err)
	}
	if w.at.ID.Less(v.truth.epochs[w.at.Epoch]) && w.at.Epoch != v.at.Epoch {
		return fmt.Errorf("the epoch began at %v", v.truth.epochs[w.at.Epoch])
	}
	back := w.at.ID.Less(v.at.ID)
	var err error
	switch same := w.at.Epoch == v.at.Epoch; {
	case w.reason == "trimmed" && same && !back:
		err = v.trimmed(w.at.ID)
	case w.reason == "slow" && same && !back:
		if !v.slow {
			err = fmt.Errorf("the client has read all the time")
		}
	case w.reason == "epoch" && same:
		err = v.strange(w.at.ID, back)
	case w.reason == "epoch" && (!back || v.foreign || v.truth.rewound):
		err = v.begun(w.at)
	default:
		err = fmt.Errorf("no such gap can be")
	}
	if err != nil {
		return err
	}
	if w.at.Epoch != v.at.Epoch {
		v.owed, v.seen, v.told = nil, map[string]*fact{}, position.ID{}
	}
	v.at, v.foreign, v.stray = w.at, false, false
	return nil
}

// trimmed is a gap of what was removed from the beginning of the stream. A slow client may hear of it when a backup has brought
// that back already.
func (v *view) trimmed(to position.ID) error {
	for _, f := range v.truth.behind(v.at.ID, to) {
		if f.topic == v.topic && f.fate == stands && !f.trimmed {
			return fmt.Errorf("%v is there", f)
		}
	}
	if !v.foreign && !v.truth.trimmedWithin(v.at.ID, to) {
		return fmt.Errorf("nothing there was trimmed")
	}
	return nil
}

// strange is a gap within an epoch behind a position that is none of the stream's: made up, or of an entry that was lost.
func (v *view) strange(to position.ID, back bool) error {
	if !v.foreign && !v.truth.lost && !v.truth.shed {
		return fmt.Errorf("the client's position is one of the stream")
	}
	if back && !v.truth.lost && !v.truth.shed {
		return fmt.Errorf("the position goes back")
	}
	for _, f := range v.truth.behind(v.at.ID, to) {
		if f.topic == v.topic && f.fate == stands {
			return fmt.Errorf("%v is there", f)
		}
	}
	return nil
}

// begun is the gap up to the beginning of an epoch. Only a slow client may miss something of that as well.
func (v *view) begun(to position.Position) error {
	if !v.foreign && !v.truth.lost {
		return fmt.Errorf("nothing was lost")
	}
	for _, f := range v.truth.behind(v.truth.epochs[to.Epoch], to.ID) {
		if f.topic == v.topic && f.fate == stands && !v.slow {
			return fmt.Errorf("%v is there, and belongs to the epoch", f)
		}
	}
	return nil
}

// settled looks, at the end, whether something is missing.
func (v *view) settled(winner func(*fact) (position.ID, error)) error {
	if v.owed != nil && v.owed.fate == lost {
		return fmt.Errorf("%v was lost before it came, and the client was not told of a new epoch", v.owed)
	}
	if v.stray {
		return fmt.Errorf("the client's position was not of the stream, and it was not told so")
	}
	for _, f := range v.passed {
		if f.fate != stands {
			continue
		}
		id, err := winner(f)
		if err != nil {
			return err
		}
		if id == f.id {
			return fmt.Errorf("%v did not come: it is the one of its id that counts", f)
		}
	}
	return nil
}
