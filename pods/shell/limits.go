package shell

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
)

// The bounds of what a client can make a container hold. All are in bytes unless they say otherwise.
const (
	maxFileBytes = 32 << 20 // of all files of a container
	maxFiles     = 10_000   // files and directories of a container
	maxName      = 255      // of a file
	maxPath      = 1024

	maxScript    = 64 << 10  // that is parsed at once
	maxFrames    = 6000      // Go stack frames, by which nesting is bounded: of a script, of functions, of $( ), eval and sh
	maxNodes     = 1000      // nodes of a script within each other
	maxVariables = 128 << 10 // of all variables of a shell, beside those it was started with
	maxArguments = 128 << 10 // of the words of one command
	maxCapture   = 128 << 10 // of the output that one $( ) takes
	maxExpansion = 512       // expansions in one statement, an unquoted one counting for 16
	maxBraces    = 4096      // words that the braces of one statement make
	maxSubshells = 16        // at once, of one Run: the left sides of pipes, and background commands
	maxRefusals  = 200       // subshells that may be refused before the whole command is ended
	maxLine      = 1 << 20   // of one line that a command looks at
	maxBuffer    = 8 << 20   // that a command keeps, as sort and tail do
	maxGlob      = 4 << 20   // of names that globs may look at, in a second
)

// tooDeep says whether the calling goroutine's stack has more than maxFrames frames. A Go stack that overflows ends the
// process, so it is asked wherever a script can make it grow.
func tooDeep() bool {
	var frame [1]uintptr
	return runtime.Callers(maxFrames, frame[:]) > 0
}

var (
	errTooDeep = errors.New("nested too deeply")
	errTooLong = errors.New("too long")
)

// sourceReader gives a parser its text in small pieces, and no more of it once the parser stands too deep.
type sourceReader struct{ text string }

func (r *sourceReader) Read(p []byte) (int, error) {
	if tooDeep() {
		return 0, errTooDeep
	}
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 64)], r.text)
	r.text = r.text[n:]
	return n, nil
}

// bucket lets through an amount that grows back with time.
type bucket struct {
	lock sync.Mutex
	left int
	last time.Time
}

func (b *bucket) take(n, perSecond int) bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	now := time.Now()
	if b.last.IsZero() {
		b.left = perSecond
	} else {
		b.left = min(perSecond, b.left+int(min(now.Sub(b.last), time.Second)*time.Duration(perSecond)/time.Second))
	}
	b.last = now
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

// limited passes on what fits, and calls full once when something does not.
type limited struct {
	to   io.Writer
	left int
	full func()
}

func (w *limited) Write(p []byte) (int, error) {
	if len(p) > w.left {
		w.left = 0
		w.full()
		return 0, errTooLong
	}
	w.left -= len(p)
	return w.to.Write(p)
}
