package main

import (
	"fmt"
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ringside-edge/ringside/internal/config"
	"github.com/ringside-edge/ringside/internal/look"
	"github.com/ringside-edge/ringside/internal/safelog"
)

// newLogger makes the logger of a process. It writes to w: lines for people on a terminal, else JSON, unless the
// settings say which.
func newLogger(cfg config.Logging, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	var enc zapcore.Encoder
	if cfg.LogFormat == "text" || cfg.LogFormat == "auto" && look.Terminal(w) {
		c := zap.NewDevelopmentEncoderConfig()
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		c.CallerKey = zapcore.OmitKey
		enc = zapcore.NewConsoleEncoder(c)
	} else {
		c := zap.NewProductionEncoderConfig()
		c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		c.EncodeDuration = zapcore.StringDurationEncoder
		c.CallerKey = zapcore.OmitKey
		enc = zapcore.NewJSONEncoder(c)
	}
	return zap.New(safelog.New(enc, zapcore.Lock(zapcore.AddSync(w)), level), zap.AddStacktrace(zapcore.PanicLevel)), nil
}
