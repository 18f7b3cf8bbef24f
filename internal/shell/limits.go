package shell

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync"
)

// These limits keep the commands of clients from using too much memory or too many files. Each limit is a number of
// bytes, unless its comment names a different unit.
const (
	defaultDisk = 32 << 20 // all files of a container
	maxFiles    = 10_000   // names of files and directories of a container
	maxName     = 255      // the name of a file
	maxPath     = 1024

	maxCommands        = 100  // concurrent calls of Run in a container
	maxProcessCommands = 1000 // concurrent calls of Run in all containers

	maxScript    = 64 << 10  // a script that is parsed in one piece
	maxFrames    = 2500      // Go stack frames; limits the nesting of scripts, functions, $( ), eval and sh
	maxVariables = 64 << 10  // all variables and functions of a shell, without its initial environment
	maxArguments = 128 << 10 // all words of one command
	maxCapture   = 64 << 10  // the output of one $( )
	maxExpansion = 256 << 10 // all values, outputs of $( ) and file names that one statement expands to
	maxBraces    = 1 << 20   // all words from brace expansions of one command
	maxSubshells = 32        // concurrent subshells of one Run: left sides of pipes, and background commands
	maxLine      = 256 << 10 // one line in a command's input
	maxTyped     = 256 << 10 // lines on a terminal that no command has read yet
	maxPattern   = 256       // one pattern of case, [[ ]] or ${ }, or one replacement in ${ }
	maxReplace   = 32        // the replacement in ${x//pattern/replacement}
	maxWrite     = 32 << 10  // one write to the client
	maxGroups    = 50_000    // instructions times groups of a regular expression
	maxProgram   = 2000      // instructions of a regular expression; a match may execute all of them for each byte
)

var (
	errTooDeep = errors.New("nested too deeply")
	errTooLong = errors.New("too long")
)

// tooDeep reports whether the stack of the calling goroutine has more than maxFrames frames. A Go stack overflow ends
// the process, so this is checked wherever a script can make the stack grow.
func tooDeep() bool {
	var frame [1]uintptr
	return runtime.Callers(maxFrames, frame[:]) > 0
}

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

// buffer collects text up to a limit. The field "left" is the number of bytes that still fit. A Write of more bytes
// fails, and calls the function in the field "full". A buffer is safe for concurrent use.
type buffer struct {
	session *session // whose memory the text takes until close, or nil

	lock   sync.Mutex
	text   bytes.Buffer
	left   int
	full   func()
	held   int
	closed bool
}

func (b *buffer) Write(p []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.closed {
		return 0, io.ErrClosedPipe
	}
	if len(p) > b.left {
		b.left = 0
		b.full()
		return 0, errTooLong
	}
	if b.session != nil {
		if !b.session.take(3 * len(p)) {
			return 0, errTooLong
		}
		b.held += 3 * len(p)
	}
	b.left -= len(p)
	return b.text.Write(p)
}

// close releases the memory of the text. A background command may still use the buffer after that; its Writes then
// fail.
func (b *buffer) close() {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.session.give(b.held)
	b.text, b.held, b.closed = bytes.Buffer{}, 0, true
}

func (b *buffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.text.String()
}
