package shell

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
)

// repeat implements xargs.
func repeat(ctx context.Context, p *process) int {
	o, args, ok := p.parse("+0rn:I:tL:", nil)
	if !ok {
		return 1
	}
	if len(args) == 0 {
		args = []string{"echo"}
	}
	most, good := o.number('n', 1<<20)
	if !good || most == 0 {
		return p.fail("invalid number '%s'", o.value['n'])
	}
	text, err := io.ReadAll(io.LimitReader(p.stdin, maxBuffer+1))
	if err != nil || len(text) > maxBuffer {
		return p.fail("%v", errTooLong)
	}
	var words []string
	switch {
	case o.has('0'):
		words = strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 })
	case o.has('I'):
		words = strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	default:
		words = strings.Fields(string(text))
	}
	exit := 0
	run := func(args []string) bool {
		switch code := p.child(ctx, args, p.env); {
		case code == 126 || code == 127:
			exit = code
			return false
		case code != 0:
			exit = 123
		}
		return ctx.Err() == nil
	}
	if mark, found := o.value['I']; found {
		for _, word := range words {
			replaced := slices.Clone(args)
			for i := range replaced {
				if len(word)*strings.Count(replaced[i], mark) > maxArguments {
					return p.fail("argument line too long")
				}
				replaced[i] = strings.ReplaceAll(replaced[i], mark, strings.TrimSpace(word))
			}
			if !run(replaced) {
				break
			}
		}
		return exit
	}
	for first := true; len(words) > 0 || first && !o.has('r'); first = false {
		n, size := 0, 0
		for n < len(words) && n < most && size+len(words[n]) < maxArguments {
			size += len(words[n]) + 1
			n++
		}
		if n == 0 && len(words) > 0 {
			return p.fail("argument line too long")
		}
		if !run(slices.Concat(args, words[:n])) {
			break
		}
		words = words[n:]
	}
	return exit
}

func env(ctx context.Context, p *process) int {
	o, args, ok := p.parse("+iu:0", nil)
	if !ok {
		return 1
	}
	var list []string
	if !o.has('i') {
		list = append(list, p.env...)
	}
	unset := func(key string) {
		kept := list[:0:0]
		for _, entry := range list {
			if !strings.HasPrefix(entry, key+"=") {
				kept = append(kept, entry)
			}
		}
		list = kept
	}
	if o.has('u') {
		unset(o.value['u'])
	}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		key, _, _ := strings.Cut(args[0], "=")
		unset(key)
		list = append(list, args[0])
		args = args[1:]
	}
	if len(args) == 0 {
		end := "\n"
		if o.has('0') {
			end = "\x00"
		}
		out := p.buffered()
		for _, entry := range list {
			_, _ = out.WriteString(entry + end)
		}
		return p.finish(out, 0)
	}
	return p.child(ctx, args, list)
}

// child runs another command with the streams of this command.
func (p *process) child(ctx context.Context, args, env []string) int {
	exit, err := p.session.start(ctx, &process{
		session: p.session, container: p.container, args: args, env: env, dir: p.dir, stdin: p.stdin, stdout: p.stdout,
		stderr: p.stderr,
	})
	switch {
	case err == errPermission || err == errIsDirectory:
		p.fail("can't execute '%s': %v", args[0], errPermission)
		return 126
	case err != nil:
		p.fail("can't execute '%s': %v", args[0], errNotExist)
		return 127
	}
	return exit
}

func timeout(ctx context.Context, p *process) int {
	_, args, ok := p.parse("+s:k:v", nil)
	if !ok {
		return 1
	}
	if len(args) < 2 {
		return p.fail("missing operand")
	}
	d, err := duration(args[0])
	if err != nil {
		return p.fail("invalid number '%s'", args[0])
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d, signal(sigTerm))
	defer cancel()
	exit := p.child(ctx, args[1:], p.env)
	if errors.Is(context.Cause(ctx), signal(sigTerm)) {
		return 128 + sigTerm
	}
	return exit
}

// test implements the command /bin/test by the shell's builtin.
func test(ctx context.Context, p *process) int {
	name := path.Base(p.args[0])
	return runShell(ctx, &process{
		session: p.session, container: p.container, pid: p.pid,
		args: append([]string{"sh", "-c", name + ` "$@"`, name}, p.args[1:]...), env: p.env,
		dir: p.dir, stdin: p.stdin, stdout: p.stdout, stderr: p.stderr,
	})
}
