package demo

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quietStart keeps log lines away from the first screen. Before it is printed only warnings are logged, and while its
// requests are sent only errors: the screen has the decisions about them.
type quietStart struct{ level zap.AtomicLevel }

func newQuietStart() *quietStart { return &quietStart{zap.NewAtomicLevelAt(zap.WarnLevel)} }

// option applies to the demo's logger.
func (q *quietStart) option() zap.Option { return zap.IncreaseLevel(q.level) }

func (q *quietStart) errorsOnly() { q.level.SetLevel(zap.ErrorLevel) }

// end lets everything through that the logger itself logs. klog's verbosity n is the level -n.
func (q *quietStart) end() { q.level.SetLevel(zapcore.Level(-128)) }
