package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/go-logr/zapr"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
	"k8s.io/klog/v2"
)

// logFlags say how to log. They are ours; the verbosity is the kubelet's -v.
type logFlags struct{ format string }

func (l *logFlags) addTo(c *cobra.Command) {
	c.Flags().StringVar(&l.format, "log-format", "auto", "console, json, or auto: console on a terminal, json elsewhere")
	completeFlag(c, "log-format", "auto", "console", "json")
}

// newLogger logs to w, standard error in a process, and takes in what the k8s.io libraries say through klog, up to
// verbosity (the kubelet's -v, as far as 7; our own lines are not subject to it).
func (l *logFlags) newLogger(w io.Writer, verbosity int) (*zap.Logger, error) {
	format := l.format
	if format == "auto" {
		format = "json"
		if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			format = "console"
		}
	}
	var encoder zapcore.Encoder
	switch format {
	case "json":
		c := zap.NewProductionEncoderConfig()
		c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
		c.TimeKey = "time"
		c.EncodeDuration = zapcore.StringDurationEncoder
		encoder = zapcore.NewJSONEncoder(c)
	case "console":
		c := zap.NewDevelopmentEncoderConfig()
		c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		c.EncodeLevel = zapcore.CapitalLevelEncoder
		c.NameKey, c.CallerKey = "", ""
		c.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(c)
	default:
		return nil, fmt.Errorf("--log-format: %q is none of auto, console, json", l.format)
	}
	sink := zapcore.Lock(zapcore.AddSync(w))
	logger := zap.New(zapcore.NewCore(encoder, sink, zapcore.InfoLevel), zap.ErrorOutput(sink))

	// From 8 on, client-go logs the bodies that it sends, and a TokenReview has a token in it.
	verbosity = min(verbosity, 7)

	// zapr makes a klog V(n) a zap level of -n, and so its core must let those through.
	libraries := zap.New(zapcore.NewCore(encoder, sink, zapcore.Level(-verbosity)), zap.ErrorOutput(sink))
	libraries = libraries.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return withoutReviewers{core} }))
	klog.SetLogger(zapr.NewLogger(libraries.With(zap.String("from", "kubernetes"))))
	var level klog.Level
	if err := level.Set(strconv.Itoa(verbosity)); err != nil {
		return nil, err
	}
	return logger, nil
}

// withoutReviewers drops what a reviewer said from the libraries' line about a TokenReview that failed: it may have said
// the token. Our own line about the request has the same words with the token's fingerprint.
type withoutReviewers struct{ zapcore.Core }

// failedReview begins that line. (k8s.io/apiserver/plugin/pkg/authenticator/token/webhook)
const failedReview = "Failed to make webhook authenticator request"

func (w withoutReviewers) With(fields []zap.Field) zapcore.Core {
	return withoutReviewers{w.Core.With(fields)}
}

func (w withoutReviewers) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if w.Enabled(entry.Level) {
		return checked.AddCore(entry, w)
	}
	return checked
}

func (w withoutReviewers) Write(entry zapcore.Entry, fields []zap.Field) error {
	if strings.HasPrefix(entry.Message, failedReview) {
		entry.Message = failedReview
	}
	return w.Core.Write(entry, fields)
}
