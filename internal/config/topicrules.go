package config

// TopicRules is how topics differ from each other.
type TopicRules struct {
	// What becomes of slow clients, topic by topic: see docs/TOPICS.md. A rolling restart takes a change in, without a client that
	// notices; ringside_gateway_topic_rules_hash shows whether all gateways have the same file.
	TopicRules string `group:"Topics" placeholder:"FILE" example:"topics.yaml" help:"YAML file with rules for topics; the same on every gateway."`
}

// Latest is what is kept for slow clients of topics with slow: latest.
type Latest struct {
	// The newest message of a key that the log has dropped is kept, up to so many of a topic and up to log-bytes. Then the oldest goes, and
	// who had yet to get it is told of a gap.
	LatestKeys int `group:"Memory" default:"4096" min:"1" max:"1000000" help:"Messages of a topic kept behind its log because they are the newest of their key."`
}
