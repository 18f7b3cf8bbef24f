package shell

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Keys that a terminal acts upon.
const (
	keyInterrupt = 0x03 // ^C
	keyEnd       = 0x04 // ^D
	keyKill      = 0x15 // ^U
	keyErase     = 0x08
	keyDelete    = 0x7f
)

// maxTyped is how much may be typed ahead.
const maxTyped = 64 << 10

// terminal is a line discipline between the keys of a client and what runs: it echoes, gives whole lines to who reads, and
// ends what runs at ^C. While a shell edits a line itself the keys go to its editor as they are.
type terminal struct {
	ctx    context.Context
	screen io.Writer // as it is

	lock      sync.Mutex
	wake      chan struct{} // closed when there is something new
	typed     []byte        // not looked at yet
	line      []byte        // not ended yet
	lines     [][]byte      // to be read; an empty one is an end of input
	ended     bool          // no more keys
	editing   bool
	silent    bool
	interrupt func()
	size      Size
	resized   func(Size)
}

func newTerminal(s *session, streams Streams) *terminal {
	t := &terminal{ctx: s.ctx, screen: s.stdout, wake: make(chan struct{}), size: Size{80, 24}}
	t.interrupt = func() { s.cancel(signal(sigInt)) }
	if streams.Stdin == nil {
		t.ended = true
	} else {
		go t.pump(streams.Stdin)
	}
	if streams.Resize != nil {
		s.work.Go(func() {
			for {
				select {
				case size, ok := <-streams.Resize:
					if !ok {
						return
					}
					t.resize(size)
				case <-s.ctx.Done():
					return
				}
			}
		})
	}
	return t
}

func (t *terminal) resize(size Size) {
	t.lock.Lock()
	t.size = size
	resized := t.resized
	t.lock.Unlock()
	if resized != nil {
		resized(size)
	}
}

// follow tells the size, and each that comes.
func (t *terminal) follow(resized func(Size)) {
	t.lock.Lock()
	t.resized = resized
	size := t.size
	t.lock.Unlock()
	resized(size)
}

func (t *terminal) echo(on bool) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.silent = !on
}

// pump takes the keys as they come; ^C is to be seen while nobody reads.
func (t *terminal) pump(from io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		t.lock.Lock()
		t.typed = append(t.typed, buffer[:n]...)
		if !t.editing {
			t.discipline()
		}
		if err != nil {
			t.ended = true
		}
		t.notify()
		for len(t.typed)+len(t.line) > maxTyped && t.ctx.Err() == nil {
			t.wait()
		}
		t.lock.Unlock()
		if err != nil || t.ctx.Err() != nil {
			return
		}
	}
}

func (t *terminal) notify() {
	close(t.wake)
	t.wake = make(chan struct{})
}

// wait waits for something new, or the end, without the lock.
func (t *terminal) wait() {
	wake := t.wake
	t.lock.Unlock()
	select {
	case <-wake:
	case <-t.ctx.Done():
	}
	t.lock.Lock()
}

// discipline makes lines of what was typed.
func (t *terminal) discipline() {
	var echo []byte
	for i, key := range t.typed {
		if len(t.lines) > 1000 {
			t.typed = slices.Clone(t.typed[i:])
			t.show(echo)
			return
		}
		switch key {
		case '\r', '\n':
			t.lines = append(t.lines, append(t.line, '\n'))
			t.line = nil
			echo = append(echo, '\r', '\n')
		case keyEnd:
			t.lines = append(t.lines, t.line)
			t.line = nil
		case keyInterrupt:
			t.line, t.lines = nil, nil
			t.show(append(echo, '^', 'C'))
			echo = nil
			t.interrupt()
		case keyErase, keyDelete:
			if len(t.line) > 0 {
				_, size := utf8.DecodeLastRune(t.line)
				t.line = t.line[:len(t.line)-size]
				echo = append(echo, "\b \b"...)
			}
		case keyKill:
			echo = append(echo, strings.Repeat("\b \b", utf8.RuneCount(t.line))...)
			t.line = nil
		default:
			if len(t.line) >= 4096 {
				continue
			}
			t.line = append(t.line, key)
			if key < ' ' && key != '\t' {
				echo = append(echo, '^', key+'@')
			} else {
				echo = append(echo, key)
			}
		}
	}
	t.typed = nil
	t.show(echo)
}

func (t *terminal) show(echo []byte) {
	if !t.silent && len(echo) > 0 {
		_, _ = t.screen.Write(echo)
	}
}

// Read gives what was typed by lines, as a command sees it.
func (t *terminal) Read(p []byte) (int, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for {
		if len(t.lines) > 0 {
			if len(t.lines[0]) == 0 {
				t.lines = t.lines[1:]
				return 0, io.EOF
			}
			n := copy(p, t.lines[0])
			if t.lines[0] = t.lines[0][n:]; len(t.lines[0]) == 0 {
				t.lines = t.lines[1:]
			}
			t.notify()
			return n, nil
		}
		if len(t.typed) > 0 && !t.editing {
			t.discipline()
			continue
		}
		if t.ended || t.ctx.Err() != nil {
			return 0, io.EOF
		}
		t.wait()
	}
}

// edit gives the keys to an editor, or takes them back from it; interrupt, if it is not nil, is what ^C does from then on. It
// gives what it did before.
func (t *terminal) edit(editing bool, interrupt func()) (before func()) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.editing = editing
	before = t.interrupt
	if interrupt != nil {
		t.interrupt = interrupt
	}
	if !editing {
		t.discipline()
		return before
	}
	var left []byte
	for _, line := range t.lines {
		if len(line) == 0 {
			line = []byte{keyEnd}
		}
		left = append(left, strings.ReplaceAll(string(line), "\n", "\r")...)
	}
	t.typed = slices.Concat(left, t.line, t.typed)
	t.line, t.lines = nil, nil
	return before
}

// crlf writes line ends as a terminal wants them.
type crlf struct{ to io.Writer }

func (w *crlf) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.to, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
