package config

// TopicRules is how topics differ from each other.
type TopicRules struct {
	// What becomes of slow clients, topic by topic: see docs/OPERATIONS.md. A rolling restart takes a change in, without a client that
	// notices; ringside_gateway_topic_rules_hash shows whether all gateways have the same file.
	TopicRules string `group:"Topics" placeholder:"FILE" example:"topics.yaml" help:"YAML file with rules for topics; the same on every gateway."`
}
