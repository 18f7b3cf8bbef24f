package shell

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"time"
)

// The limits of what a client can make a container hold, in bytes unless noted.
const (
	maxFileBytes = 32 << 20 // all files of a container
	maxFiles     = 10_000   // files and directories of a container
	maxName      = 255      // the name of a file
	maxPath      = 1024

	maxScript    = 64 << 10  // a script that is parsed in one piece
	maxFrames    = 4000      // Go stack frames; limits the nesting of scripts, functions, $( ), eval and sh
	maxNodes     = 1000      // depth of a script's syntax tree
	maxVariables = 64 << 10  // all variables of a shell, without its initial environment
	maxArguments = 128 << 10 // all words of one command
	maxCapture   = 64 << 10  // the output of one $( )
	maxExpansion = 512       // expansions in one statement; an unquoted one counts 16 times
	maxBraces    = 4096      // words from brace expansion in one statement
	maxSubshells = 16        // concurrent subshells of one Run: left sides of pipes, and background commands
	maxRefusals  = 200       // refused subshells after which the whole command is ended
	maxLine      = 256 << 10 // one line in a command's input
	maxBuffer    = 8 << 20   // the memory of a command such as sort or tail
	maxPattern   = 256       // each literal or expanded part of a pattern; at most 4 expansions
	maxProgram   = 2000      // instructions of a regular expression; a match may execute all of them for each byte
	maxGlob      = 4 << 20   // names that the globs of one command examine
	maxGlobs     = 16 << 20  // names that all globs of one Run examine per second
)

// tooDeep reports whether the stack of the calling goroutine has more than maxFrames frames. A Go stack overflow ends
// the process, so this is checked wherever a script can make the stack grow.
func tooDeep() bool {
	var frame [1]uintptr
	return runtime.Callers(maxFrames, frame[:]) > 0
}

var (
	errTooDeep = errors.New("nested too deeply")
	errTooLong = errors.New("too long")
)

// sourceReader passes text to a parser in small pieces. It returns an error once the parser is nested too deeply.
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

// globs limits how many file names patterns may examine: a limit for each command, and a limit per second for all
// commands together.
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
	if g.byRunner == nil || len(g.byRunner) > 1000 { // drop the entries of ended subshells
		g.byRunner = map[uintptr]int{}
	}
	// Before the first call the elapsed time is very long.
	g.left = min(maxGlobs, max(g.left, 0)+int(min(now.Sub(g.last), time.Second)*maxGlobs/time.Second))
	g.last = now
	g.left -= n
	g.byRunner[runner] += n
	return g.left >= 0 && g.byRunner[runner] <= maxGlob
}

// done resets the count of a runner when its next command begins.
func (g *globs) done(runner uintptr) {
	g.lock.Lock()
	defer g.lock.Unlock()
	delete(g.byRunner, runner)
}

// limited is a writer with a limit. It calls full once when the limit is exceeded.
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
