package shell

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

func printEnv(_ context.Context, p *process) int {
	if len(p.args) == 1 {
		return p.print(strings.Join(append(p.env[:len(p.env):len(p.env)], ""), "\n"))
	}
	exit := 0
	for _, key := range p.args[1:] {
		value, found := lookupEnv(p.env, key)
		if !found {
			exit = 1
			continue
		}
		p.print(value + "\n")
	}
	return exit
}

func hostName(_ context.Context, p *process) int {
	o, names, ok := p.parse("ifsd", nil)
	switch {
	case !ok:
		return 1
	case len(names) > 0:
		return p.fail("sethostname: %v", errNotPermitted)
	case o.has('i'):
		return p.print(orElse(p.container.config.IP, "127.0.0.1") + "\n")
	}
	return p.print(p.container.config.Hostname + "\n")
}

func id(_ context.Context, p *process) int {
	o, _, ok := p.parse("ugnGr", nil)
	if !ok {
		return 1
	}
	u := p.user()
	name, group := p.container.userName(u.uid), p.container.groupName(u.gid)
	uid, gid := strconv.FormatInt(u.uid, 10), strconv.FormatInt(u.gid, 10)
	switch {
	case o.has('u') && o.has('n'):
		return p.print(name + "\n")
	case o.has('u'):
		return p.print(uid + "\n")
	case (o.has('g') || o.has('G')) && o.has('n'):
		return p.print(group + "\n")
	case o.has('g') || o.has('G'):
		return p.print(gid + "\n")
	}
	with := func(id, name string) string {
		if id == name {
			return id
		}
		return id + "(" + name + ")"
	}
	text := fmt.Sprintf("uid=%s gid=%s", with(uid, name), with(gid, group))
	if u.uid == 0 {
		text += " groups=" + with(gid, group)
	}
	return p.print(text + "\n")
}

func listProcesses(_ context.Context, p *process) int {
	var text strings.Builder
	text.WriteString("PID   USER     TIME  COMMAND\n")
	user := p.container.userName(p.user().uid)
	for _, pid := range p.container.list() {
		args := p.container.config.Command
		if pid != 1 {
			other := p.container.process(pid)
			if other == nil {
				continue
			}
			args = other.args
		}
		fmt.Fprintf(&text, "%5d %-8.8s  0:00 %s\n", pid, user, printable(strings.Join(args, " ")))
	}
	return p.print(text.String())
}

// printable formats a command line like ps: one line of limited length.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 1024)]
}

func kill(_ context.Context, p *process) int {
	args, number := p.args[1:], sigTerm
	names := map[string]int{"HUP": 1, "INT": sigInt, "QUIT": 3, "KILL": sigKill, "USR1": 10, "USR2": 12,
		"TERM": sigTerm, "CONT": 18, "STOP": 19, "0": 0}
	if len(args) > 0 && strings.HasPrefix(args[0], "-") && len(args[0]) > 1 {
		name := args[0][1:]
		if args = args[1:]; name == "l" {
			return p.print("HUP INT QUIT KILL USR1 USR2 TERM CONT STOP\n")
		}
		if name == "s" && len(args) > 0 {
			name, args = args[0], args[1:]
		}
		known, found := names[strings.TrimPrefix(strings.ToUpper(name), "SIG")]
		if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < 65 {
			known, found = n, true
		}
		if !found {
			return p.fail("bad signal name '%s'", name)
		}
		number = known
	}
	if len(args) == 0 {
		return p.fail("you need to specify whom to kill")
	}
	exit := 0
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			exit = p.fail("invalid number '%s'", arg)
			continue
		}
		other := p.container.process(pid)
		switch {
		case pid == 1: // the kernel does not kill process 1 with a signal that it does not handle
		case other == nil:
			exit = p.fail("can't kill pid %d: No such process", pid)
		case number != 0 && number < 17:
			other.kill(signal(number))
		}
	}
	return exit
}

func yes(ctx context.Context, p *process) int {
	text := "y"
	if len(p.args) > 1 {
		text = strings.Join(p.args[1:], " ")
	}
	for ctx.Err() == nil {
		if _, err := p.stdout.Write([]byte(strings.Repeat(text+"\n", max(1, 1024/(len(text)+1))))); err != nil {
			return p.writeError(err)
		}
	}
	return 1
}

func systemName(_ context.Context, p *process) int {
	o, _, ok := p.parse("asnrvmpio", nil)
	if !ok {
		return 1
	}
	var words []string
	for _, part := range []struct {
		option rune
		text   string
	}{
		{'s', kernelName}, {'n', p.container.config.Hostname}, {'r', kernelRelease}, {'v', kernelVersion},
		{'m', machine}, {'o', kernelName},
	} {
		if o.has(part.option) || o.has('a') || len(o.count) == 0 && part.option == 's' {
			words = append(words, part.text)
		}
	}
	return p.print(strings.Join(words, " ") + "\n")
}

func free(_ context.Context, p *process) int {
	o, _, ok := p.parse("bkmgh", nil)
	if !ok {
		return 1
	}
	shift := 0
	if o.has('m') || o.has('h') {
		shift = 10
	}
	return p.print(fmt.Sprintf("              total        used        free      shared  buff/cache   "+
		"available\nMem:    %11d %11d %11d %11d %11d %11d\nSwap:   %11d %11d %11d\n",
		memoryTotal>>shift, (memoryTotal-memoryFree-1<<20)>>shift, memoryFree>>shift, 0, 1<<20>>shift,
		(memoryFree+1<<20)>>shift, 0, 0, 0))
}

func diskFree(_ context.Context, p *process) int {
	o, _, ok := p.parse("hkTPaim", nil)
	if !ok {
		return 1
	}
	p.container.files.lock.RLock()
	used := p.container.files.bytes >> 10
	p.container.files.lock.RUnlock()
	total := maxFileBytes >> 10
	show := func(kib int) string {
		if o.has('h') {
			return humanSize(int64(kib) << 10)
		}
		return strconv.Itoa(kib)
	}
	head := "1K-blocks      Used Available Use%"
	if o.has('h') {
		head = "     Size      Used Available Use%"
	}
	return p.print(fmt.Sprintf("Filesystem           %s Mounted on\noverlay              %9s %9s %9s %3d%% /\n", head,
		show(total), show(used), show(total-used), (used*100+total-1)/total))
}

func which(_ context.Context, p *process) int {
	_, names, ok := p.parse("a", nil)
	if !ok {
		return 1
	}
	exit := 0
	for _, name := range names {
		file, err := p.lookPath(name)
		if err != nil {
			exit = 1
			continue
		}
		p.print(file + "\n")
	}
	return exit
}

func terminalName(_ context.Context, p *process) int {
	if t := p.session.terminal; t != nil && isTerminal(p.stdin, t) {
		return p.print("/dev/pts/0\n")
	}
	p.print("not a tty\n")
	return 1
}

func terminalSize(_ context.Context, p *process) int {
	t := p.session.terminal
	if t == nil || !isTerminal(p.stdin, t) {
		return p.fail("standard input: Not a tty")
	}
	t.lock.Lock()
	size := t.size
	t.lock.Unlock()
	switch {
	case len(p.args) == 2 && p.args[1] == "size":
		return p.print(fmt.Sprintf("%d %d\n", size.Height, size.Width))
	case len(p.args) == 2 && (p.args[1] == "-echo" || p.args[1] == "echo"):
		t.echo(p.args[1] == "echo")
		return 0
	case len(p.args) < 2:
		return p.print(fmt.Sprintf("speed 38400 baud; rows %d; columns %d;\n", size.Height, size.Width))
	}
	return p.fail("invalid argument '%s'", p.args[1])
}
