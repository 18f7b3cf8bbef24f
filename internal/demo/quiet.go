package demo

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// quietStart keeps log lines off the first screen. Until the screen is printed, only warnings are logged, and while
// the requests of the screen are sent, only errors, because the screen shows the decisions about them.
type quietStart struct{ level zap.AtomicLevel }

func newQuietStart() *quietStart { return &quietStart{zap.NewAtomicLevelAt(zap.WarnLevel)} }

// option returns the option for the demo's logger.
func (q *quietStart) option() zap.Option { return zap.IncreaseLevel(q.level) }

func (q *quietStart) errorsOnly() { q.level.SetLevel(zap.ErrorLevel) }

// end lets all lines pass that the logger's own level allows. klog's verbosity n is the level -n.
func (q *quietStart) end() { q.level.SetLevel(zapcore.Level(-128)) }
