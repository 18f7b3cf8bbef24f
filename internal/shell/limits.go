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
	maxFrames    = 4000      // Go stack frames, by which nesting is bounded: of a script, of functions, of $( ), eval and sh
	maxNodes     = 1000      // nodes of a script within each other
	maxVariables = 64 << 10  // of all variables of a shell, beside those it was started with
	maxArguments = 128 << 10 // of the words of one command
	maxCapture   = 64 << 10  // of the output that one $( ) takes
	maxExpansion = 512       // expansions in one statement, an unquoted one counting for 16
	maxBraces    = 4096      // words that the braces of one statement make
	maxSubshells = 16        // at once, of one Run: the left sides of pipes, and background commands
	maxRefusals  = 200       // subshells that may be refused before the whole command is ended
	maxLine      = 256 << 10 // of one line that a command looks at
	maxBuffer    = 8 << 20   // that a command keeps, as sort and tail do
	maxPattern   = 256       // of each text of a pattern: what is written, and what an expansion gives, of which there may be 4
	maxProgram   = 2000      // instructions of a regular expression, which a match of a line goes through for each of its bytes
	maxGlob      = 4 << 20   // of names that the globs of one command look at
	maxGlobs     = 16 << 20  // and of those that all of a Run look at, in a second
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
	n := copy(p[:min(len(p), 256)], r.text)
	r.text = r.text[n:]
	return n, nil
}

// globs bounds the names that globs look at: those of one command, by its runner, and those of all in a second.
type globs struct {
	lock     sync.Mutex
	byRunner map[uintptr]int
	left     int
	last     time.Time
}

func (g *globs) take(runner uintptr, n int) bool {
	g.lock.Lock()
	defer g.lock.Unlock()
	now := time.Now()
	if g.byRunner == nil || len(g.byRunner) > 1000 { // of subshells that have ended without another command
		g.byRunner = map[uintptr]int{}
	}
	// At first the time since is long.
	g.left = min(maxGlobs, max(g.left, 0)+int(min(now.Sub(g.last), time.Second)*maxGlobs/time.Second))
	g.last = now
	g.left -= n
	g.byRunner[runner] += n
	return g.left >= 0 && g.byRunner[runner] <= maxGlob
}

// done is that a runner's next command begins.
func (g *globs) done(runner uintptr) {
	g.lock.Lock()
	defer g.lock.Unlock()
	delete(g.byRunner, runner)
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
