package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"fauxlet/internal/logging"
)

// logFlags holds the value of --log-format, the format of the log. The kubelet's flag -v sets the verbosity of the log.
type logFlags struct{ format string }

func (l *logFlags) addTo(c *cobra.Command) {
	c.Flags().StringVar(&l.format, "log-format", "auto",
		"console, json, or auto: console on a terminal, json elsewhere")
	completeFlag(c, "log-format", logging.Formats...)
}

// newLogger returns a logger that writes to w. It also makes the k8s.io libraries write to this logger, up to the given
// verbosity.
func (l *logFlags) newLogger(w io.Writer, verbosity int, options ...zap.Option) (*zap.Logger, error) {
	logger, err := logging.New(w, l.format, verbosity, options...)
	if err != nil {
		return nil, fmt.Errorf("--log-format: %w", err)
	}
	return logger, nil
}
