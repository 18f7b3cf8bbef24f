package shell

import (
	"context"
	"io"
	"strconv"
	"strings"

	"golang.org/x/term"

	"mvdan.cc/sh/v3/syntax"
)

// keys are what an editor reads: one byte at a time, so that none of those after a line is taken with it.
type keys struct {
	*terminal
	interrupted bool
}

func (k *keys) Read(p []byte) (int, error) {
	k.lock.Lock()
	defer k.lock.Unlock()
	for len(k.typed) == 0 {
		if k.ended || k.ctx.Err() != nil {
			return 0, io.EOF
		}
		k.wait()
	}
	p[0] = k.typed[0]
	k.typed = k.typed[1:]
	k.interrupted = p[0] == keyInterrupt
	k.notify()
	return 1, nil
}

func (k *keys) Write(p []byte) (int, error) { return k.screen.Write(p) }

// history is what the arrow keys bring back, without empty lines.
type history struct{ lines []string }

func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines[max(0, len(h.lines)-99):], line)
}

func (h *history) Len() int { return len(h.lines) }

func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// converse runs the lines that are typed at a prompt, until exit or ^D.
func (sh *interpreter) converse(ctx context.Context, t *terminal) int {
	in := &keys{terminal: t}
	past := &history{}
	var editor *term.Terminal
	fresh := func() {
		editor = term.NewTerminal(in, "")
		editor.History = past
	}
	fresh()
	// What a line has started in the background goes on after it, so its context does, too; of so many lines.
	var begun []context.CancelFunc
	defer func() {
		for _, cancel := range begun {
			cancel()
		}
	}()
	exit, text := 0, ""
	for ctx.Err() == nil {
		before := t.edit(true, nil)
		// A shell within this one has had its own editor.
		t.follow(func(size Size) { _ = editor.SetSize(max(1, int(size.Width)), int(size.Height)) })
		editor.SetPrompt("> ")
		if text == "" {
			editor.SetPrompt(sh.prompt())
		}
		line, err := editor.ReadLine()
		switch {
		case err != nil && in.interrupted:
			_, _ = io.WriteString(in, "^C\r\n")
			exit, text = 128+sigInt, ""
			sh.setStatus(ctx, exit)
			fresh()
			continue
		case err != nil && err != term.ErrPasteIndicator:
			t.edit(false, before)
			if ctx.Err() == nil {
				_, _ = io.WriteString(in, "\r\n")
				sh.run(ctx, &syntax.File{Name: "sh"}) // for its trap
			}
			return exit
		}
		text += line + "\n"
		script, more, err := complete(text, false)
		if more {
			continue
		}
		text = ""
		if err != nil {
			exit = sh.complain(err)
			sh.setStatus(ctx, exit)
			continue
		}
		lineCtx, cancel := context.WithCancelCause(ctx)
		t.edit(false, func() { cancel(signal(sigInt)) })
		over := false
		for _, stmt := range script.Stmts {
			if exit, over = sh.run(lineCtx, stmt); over {
				break
			}
		}
		interrupted := context.Cause(lineCtx) == signal(sigInt) && ctx.Err() == nil
		t.edit(false, before)
		if begun = append(begun, func() { cancel(nil) }); len(begun) > 1000 {
			begun[0]()
			begun = begun[1:]
		}
		if interrupted {
			_, _ = io.WriteString(in, "\r\n")
			exit, over = 128+sigInt, false
			sh.setStatus(ctx, exit)
		}
		if over {
			return exit
		}
	}
	return exit
}

// setStatus gives $? a value, and makes the runner forget that it was interrupted.
func (sh *interpreter) setStatus(ctx context.Context, exit int) {
	sh.run(ctx, &syntax.Subshell{Stmts: []*syntax.Stmt{{Cmd: &syntax.CallExpr{Args: []*syntax.Word{word("exit"), word(strconv.Itoa(exit))}}}}})
}

// prompt is that of busybox: where one is, and # for root.
func (sh *interpreter) prompt() string {
	dir := sh.runner.Dir
	if home := sh.container.home(); home != "/" {
		if dir == home {
			dir = "~"
		} else if rest, ok := strings.CutPrefix(dir, home+"/"); ok {
			dir = "~/" + rest
		}
	}
	if sh.user().uid == 0 {
		return dir + " # "
	}
	return dir + " $ "
}
