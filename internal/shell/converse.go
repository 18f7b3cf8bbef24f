package shell

import (
	"context"
	"io"
	"strconv"
	"strings"

	"golang.org/x/term"

	"mvdan.cc/sh/v3/syntax"
)

// keys is the input of a line editor. It reads one byte at a time, so that input after the line is left for the next
// reader.
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

// history is the history of typed lines, without empty lines.
type history struct{ lines []string }

func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines[max(0, len(h.lines)-99):], line)
}

func (h *history) Len() int { return len(h.lines) }

func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// converse prompts for lines and runs them until exit or ^D.
func (sh *interpreter) converse(ctx context.Context, t *terminal) int {
	in := &keys{terminal: t}
	past := &history{}
	var editor *term.Terminal
	fresh := func() {
		editor = term.NewTerminal(in, "")
		editor.History = past
	}
	fresh()
	// Background commands continue after their line, so the contexts of the last lines stay alive.
	var begun []context.CancelFunc
	defer func() {
		for _, cancel := range begun {
			cancel()
		}
	}()
	exit, text := 0, ""
	for ctx.Err() == nil {
		before := t.edit(true, nil)
		// A nested shell has used an editor of its own.
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
				sh.run(ctx, &syntax.File{Name: "sh"}) // to run its EXIT trap
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

// setStatus sets $? and clears the interruption of the runner.
func (sh *interpreter) setStatus(ctx context.Context, exit int) {
	sh.run(ctx, &syntax.Subshell{Stmts: []*syntax.Stmt{{Cmd: &syntax.CallExpr{Args: []*syntax.Word{word("exit"),
		word(strconv.Itoa(exit))}}}}})
}

// prompt returns busybox's prompt: the working directory, and # for root.
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
