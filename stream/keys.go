package stream

import "strconv"

// groupSize is how many slots share a hash tag, and with it a node of a Redis Cluster.
const groupSize = 16

func prefix(slot int) string {
	return "ringside:{" + strconv.Itoa(slot/groupSize) + "}:" + strconv.Itoa(slot) + ":"
}

// Key is the stream of a slot.
func Key(slot int) string { return prefix(slot) + "stream" }

func epochKey(slot int) string { return prefix(slot) + "epoch" }

func idKey(slot int, id string) string { return prefix(slot) + "id:" + id }

// Fields of an entry. Anybody may write one; those of an epoch's mark are ours.
const (
	fieldID      = "id"
	fieldTopic   = "topic"
	fieldPayload = "payload"
	fieldEpoch   = "epoch"
)
