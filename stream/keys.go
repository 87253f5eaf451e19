package stream

import "strconv"

// groupSize is how many slots share a hash tag, and with it a node of a Redis Cluster.
const groupSize = 16

func tag(slot int) string { return "ringside:{" + strconv.Itoa(slot/groupSize) + "}:" }

func prefix(slot int) string { return tag(slot) + strconv.Itoa(slot) + ":" }

// Key is the stream of a slot.
func Key(slot int) string { return prefix(slot) + "stream" }

func epochKey(slot int) string { return prefix(slot) + "epoch" }

// idKey is where an idempotency key of a topic is remembered. Topics of one slot know nothing of each other.
func idKey(slot int, topic, id string) string {
	return prefix(slot) + "id:" + strconv.Itoa(len(topic)) + ":" + topic + ":" + id
}

// Fields of an entry. Anybody may write one; the others than id, topic and payload are ours.
const (
	fieldID      = "id"
	fieldTopic   = "topic"
	fieldPayload = "payload"
	fieldClaimed = "claimed" // the id is known to be new: the publish script has looked
	fieldEpoch   = "epoch"   // alone: the mark that begins an epoch
	fieldBeacon  = "beacon"  // alone: a sign of life in a quiet stream: its epoch, and the last entry that is no beacon
)

// groupPrefix begins the names of the consumer groups; the shard's ID follows.
const groupPrefix = "gateway-fanout:"
