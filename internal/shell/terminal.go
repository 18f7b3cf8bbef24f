package shell

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Keys with a meaning for the terminal.
const (
	keyInterrupt = 0x03 // ^C
	keyEnd       = 0x04 // ^D
	keyKill      = 0x15 // ^U
	keyErase     = 0x08
	keyDelete    = 0x7f
)

// maxTyped is how many bytes may be typed ahead.
const maxTyped = 64 << 10

// terminal is the line discipline between a client's keys and a running command. It echoes keys, delivers whole
// lines, and interrupts the command at ^C. While a shell edits a line, the keys go unchanged to its editor.
type terminal struct {
	ctx    context.Context
	screen io.Writer // the client, without CRLF conversion

	lock      sync.Mutex
	wake      chan struct{} // closed when there is new input
	typed     []byte        // not processed yet
	line      []byte        // the incomplete line
	lines     [][]byte      // complete lines; an empty one means end of input
	ended     bool          // the client sends no more keys
	editing   bool
	silent    bool
	interrupt func()
	size      Size
	resized   func(Size)
}

func newTerminal(s *session, streams Streams) *terminal {
	t := &terminal{ctx: s.ctx, screen: s.stdout, wake: make(chan struct{}), size: Size{Width: 80, Height: 24}}
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

// follow passes on the current size and each new size.
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

// pump reads keys as they arrive, so that ^C works even if no command reads.
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

// wait releases the lock and waits for new input or the end.
func (t *terminal) wait() {
	wake := t.wake
	t.lock.Unlock()
	select {
	case <-wake:
	case <-t.ctx.Done():
	}
	t.lock.Lock()
}

// discipline turns typed keys into lines.
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

// Read returns typed lines, as a command sees them.
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

// edit routes the keys to an editor, or back to the commands. interrupt, if not nil, becomes the action of ^C. edit
// returns the previous action.
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

// crlf is a writer that converts line feeds to CRLF.
type crlf struct{ to io.Writer }

func (w *crlf) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.to, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
