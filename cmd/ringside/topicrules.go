package main

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/topicrule"
)

// loadTopicRules reads the rules of topics, none when no file is set, and logs what tells two files apart.
func loadTopicRules(cfg config.TopicRules, log *zap.Logger) (*topicrule.Rules, error) {
	if cfg.TopicRules == "" {
		return nil, nil
	}
	rules, err := topicrule.Load(cfg.TopicRules)
	if err != nil {
		return nil, fmt.Errorf("topic-rules: %w", err)
	}
	log.Info("topics have rules", zap.String("file", cfg.TopicRules), zap.Int("rules", rules.Len()), zap.Uint32("hash", rules.Hash()))
	return rules, nil
}
