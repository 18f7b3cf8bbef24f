// Package logging creates the program's logger. It also redirects the log of the k8s.io libraries (klog) to the same
// output, and limits the verbosity of klog, because at a high verbosity client-go logs tokens. Package authchain sets a
// filter in klog that removes the errors of reviews, because they may contain a token too.
package logging

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
	"k8s.io/klog/v2"
)

// Formats are the possible formats of log lines. The format "auto" is the same as "console" if the output is a
// terminal, and the same as "json" otherwise.
var Formats = []string{"auto", "console", "json"}

// maxVerbosity is the highest klog level that is logged. From level 8 on, client-go logs request bodies, and the body
// of a TokenReview contains a token.
const maxVerbosity = 7

// New returns a logger that writes to w. The argument "format" is one of Formats. New also makes klog, in the whole
// process, write to w in this format. The argument "verbosity" has the same meaning as the kubelet's flag -v: klog logs
// lines up to this level. It does not affect the returned logger. The options apply to klog and to the returned logger.
//
// If w is a file or pipe, lines are written in batches. A line waits for at most 200 ms, and not longer than until the
// next line with the level error or above. [EndBatches] writes the waiting lines.
func New(w io.Writer, format string, verbosity int, options ...zap.Option) (*zap.Logger, error) {
	if !slices.Contains(Formats, format) {
		return nil, fmt.Errorf("%q: must be one of %s", format, strings.Join(Formats, ", "))
	}
	encoder := jsonEncoder()
	if format == "console" || format == "auto" && isTerminal(w) {
		encoder = consoleEncoder()
	}
	sink := newSink(w)
	flush := func() { _ = sink.Sync() }
	options = append(slices.Clip(options), zap.ErrorOutput(sink), zap.Hooks(func(e zapcore.Entry) error {
		if e.Level >= zapcore.ErrorLevel {
			flush()
		}
		return nil
	}))
	verbosity = min(verbosity, maxVerbosity)
	var level klog.Level
	if err := level.Set(strconv.Itoa(verbosity)); err != nil { // klog drops lines above its own level
		return nil, err
	}
	// zapr logs klog's V(n) at the zap level -n.
	libraries := zap.New(zapcore.NewCore(encoder, sink, zapcore.Level(-verbosity)), options...)
	klog.SetLoggerWithOptions(zapr.NewLogger(libraries.With(zap.String("from", "kubernetes"))), klog.FlushLogger(flush))
	return zap.New(zapcore.NewCore(encoder, sink, zapcore.InfoLevel), options...), nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

func jsonEncoder() zapcore.Encoder {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.TimeKey = "time"
	c.EncodeDuration = zapcore.StringDurationEncoder
	return zapcore.NewJSONEncoder(c)
}

func consoleEncoder() zapcore.Encoder {
	c := zap.NewDevelopmentEncoderConfig()
	c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	c.EncodeLevel = zapcore.CapitalLevelEncoder
	c.NameKey, c.CallerKey = "", ""
	c.ConsoleSeparator = "  "
	return zapcore.NewConsoleEncoder(c)
}
