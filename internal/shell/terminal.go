package shell

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"

	"fauxlet/internal/pods"
)

// terminal turns a client's keys into lines for commands and shells, with the line editor of package term. ^C
// interrupts the running command, and ^D at the beginning of a line ends its input.
type terminal struct {
	ctx    context.Context
	screen io.Writer // writes to the client, without CRLF conversion

	lock sync.Mutex
	// lines are the typed lines that no command has read yet, with their line ends. A command may have read a part of
	// the first one. An empty line means end of input.
	lines   []string
	typed   int        // the size of lines, with 16 bytes for each line
	ended   bool       // the client sends no more keys
	changed *sync.Cond // lines or ended has changed, or the context of a reader has ended
	// The field "foreground" has the session and, after it, one element for each interactive shell. ^C interrupts the
	// last element: the shell that was started last or, without an interactive shell, the session.
	foreground []*interruptible
	size       pods.Size
	editor     *term.Terminal
}

// interruptible is a session, or the current line of an interactive shell.
type interruptible struct{ cancel context.CancelCauseFunc }

func newTerminal(s *session, streams pods.Streams) *terminal {
	t := &terminal{ctx: s.ctx, screen: s.stdout, ended: streams.Stdin == nil, size: pods.Size{Width: 80, Height: 24},
		foreground: []*interruptible{{s.cancel}}}
	t.changed = sync.NewCond(&t.lock)
	if streams.Stdin != nil {
		go t.pump(&keyboard{terminal: t, from: bufio.NewReader(streams.Stdin)})
	}
	if streams.Resize != nil {
		s.work.Go(func() {
			for {
				select {
				case size, ok := <-streams.Resize:
					if !ok {
						return
					}
					t.lock.Lock()
					t.size = pods.Size{Width: cmp.Or(size.Width, 80), Height: cmp.Or(size.Height, 24)}
					t.resize()
					t.lock.Unlock()
				case <-s.ctx.Done():
					return
				}
			}
		})
	}
	return t
}

// resize passes the terminal's size to the line editor. The caller holds t.lock.
func (t *terminal) resize() {
	if t.editor != nil {
		_ = t.editor.SetSize(int(t.size.Width), int(t.size.Height))
	}
}

// keyboard is the reader and writer of the terminal's line editor. It reads one byte at a time, so that the field
// "last" always holds the key that ended a line.
type keyboard struct {
	*terminal
	from *bufio.Reader
	last byte
	err  error
}

func (k *keyboard) Read(p []byte) (int, error) {
	if k.last, k.err = k.from.ReadByte(); k.err != nil {
		return 0, io.EOF
	}
	p[0] = k.last
	return 1, nil
}

func (k *keyboard) Write(p []byte) (int, error) { return k.screen.Write(p) }

// pump reads the client's keys as they arrive, so that ^C works even if no command reads.
func (t *terminal) pump(k *keyboard) {
	defer t.change(func() { t.ended = true })
	history := term.NewTerminal(k, "").History
	for k.err == nil && t.ctx.Err() == nil {
		// Make a new line editor, because after its first error a line editor returns that error forever.
		editor := term.NewTerminal(k, "")
		editor.History = history
		t.lock.Lock()
		t.editor = editor
		t.resize()
		t.lock.Unlock()
		line, err := editor.ReadLine()
		for ; err == nil || err == term.ErrPasteIndicator; line, err = editor.ReadLine() {
			t.add(line + "\n")
		}
		const interruptKey = 0x03
		switch {
		case k.err != nil:
		case k.last == interruptKey:
			_, _ = io.WriteString(k, "^C\r\n")
			t.change(func() {
				t.lines, t.typed = nil, 0
				t.foreground[len(t.foreground)-1].cancel(signal(sigInt))
			})
		default:
			t.add("")
		}
	}
}

// The method "change" calls a function that changes the state of the terminal, and then wakes the commands that wait
// for input.
func (t *terminal) change(change func()) {
	t.lock.Lock()
	defer t.lock.Unlock()
	change()
	t.changed.Broadcast()
}

// add passes a typed line to the commands that read. If too much is typed ahead, it drops the line and rings the bell:
// pump must not wait for the commands, because it must handle ^C at once.
func (t *terminal) add(line string) {
	dropped := false
	t.change(func() {
		if dropped = t.typed+len(line)+16 > maxTyped; !dropped {
			t.typed += len(line) + 16
			t.lines = append(t.lines, line)
		}
	})
	if dropped {
		_, _ = io.WriteString(t.screen, "\a")
	}
}

// take waits for a typed line and returns at most its next n bytes, or an empty text when the input or ctx ends.
func (t *terminal) take(ctx context.Context, n int) string {
	defer context.AfterFunc(ctx, func() { t.change(func() {}) })()
	t.lock.Lock()
	defer t.lock.Unlock()
	for len(t.lines) == 0 && !t.ended && ctx.Err() == nil {
		t.changed.Wait()
	}
	if len(t.lines) == 0 || ctx.Err() != nil {
		return ""
	}
	line := t.lines[0]
	n = min(n, len(line))
	t.typed -= n
	if t.lines[0] = line[n:]; n == len(line) {
		t.lines = t.lines[1:]
		t.typed -= 16
	}
	return line[:n]
}

// Read returns the next part of the typed text, at most one line. It returns io.EOF after ^D, at the end of the
// client's input, and when the context of the session ends.
func (t *terminal) Read(p []byte) (int, error) { return t.read(t.ctx, p) }

func (t *terminal) read(ctx context.Context, p []byte) (int, error) {
	text := t.take(ctx, len(p))
	if text == "" {
		return 0, io.EOF
	}
	return copy(p, text), nil
}

// terminalOf returns the terminal from which a reader reads directly, or nil if it reads from another input.
func terminalOf(from io.Reader) *terminal {
	switch from := from.(type) {
	case *terminal:
		return from
	case *guardedReader:
		return terminalOf(from.from)
	}
	return nil
}

// converse runs an interactive shell: it prompts for lines and runs them until exit or ^D.
func (sh *interpreter) converse(t *terminal) {
	text, ctx, current := "", sh.ctx, &interruptible{func(error) {}}
	t.change(func() { t.foreground = append(t.foreground, current) })
	defer t.change(func() {
		t.foreground = slices.DeleteFunc(t.foreground, func(i *interruptible) bool { return i == current })
	})
	for !sh.stopped() {
		lineCtx, cancelLine := context.WithCancelCause(ctx)
		t.change(func() { current.cancel = cancelLine })
		prompt := "> "
		if text == "" {
			prompt = sh.prompt()
		}
		_, _ = io.WriteString(t.screen, prompt)
		line := t.take(lineCtx, maxLine)
		sh.meter.skip()
		text += line
		sh.ctx = lineCtx
		before := sh.held
		if script, more, err := sh.complete(text, line == ""); !more {
			if text = ""; err != nil {
				sh.complain(err)
			} else {
				sh.stmts(script.Stmts)
			}
		}
		sh.giveBack(before)
		sh.ctx = ctx
		if sh.jump == returnFunction {
			sh.jump = noJump
		}
		switch {
		case context.Cause(lineCtx) == error(signal(sigInt)) && ctx.Err() == nil:
			if sh.status, text = 128+sigInt, ""; sh.jump != exitShell { // exec and exit still end the shell
				sh.jump = noJump
			}
		case line == "":
			_, _ = io.WriteString(t.screen, "\r\n")
			sh.jump = exitShell
		}
		cancelLine(nil)
	}
}

// prompt returns busybox's prompt: the working directory, and # for root.
func (sh *interpreter) prompt() string {
	dir := sh.dir
	if home := sh.container.home(); home != "/" {
		if rest, ok := strings.CutPrefix(dir+"/", home+"/"); ok {
			dir = strings.TrimSuffix("~/"+rest, "/")
		}
	}
	if sh.container.config.UID == 0 {
		return dir + " # "
	}
	return dir + " $ "
}

// crlf is a writer that converts line feeds to CRLF.
type crlf struct{ to io.Writer }

func (w *crlf) Write(p []byte) (int, error) {
	if _, err := io.WriteString(w.to, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
