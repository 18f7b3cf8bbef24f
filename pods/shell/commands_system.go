package shell

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

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

// child runs another command with the streams of this one.
func (p *process) child(ctx context.Context, args, env []string) int {
	exit, err := p.session.start(ctx, &process{
		session: p.session, container: p.container, args: args, env: env, dir: p.dir, stdin: p.stdin, stdout: p.stdout, stderr: p.stderr,
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

// printable is a command line as ps has it, in one line that is not too long.
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
	names := map[string]int{"HUP": 1, "INT": sigInt, "QUIT": 3, "KILL": sigKill, "USR1": 10, "USR2": 12, "TERM": sigTerm, "CONT": 18, "STOP": 19, "0": 0}
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
		case pid == 1: // it does not handle it, and the kernel does not end it then
		case other == nil:
			exit = p.fail("can't kill pid %d: No such process", pid)
		case number != 0 && number < 17:
			other.kill(signal(number))
		}
	}
	return exit
}

func sleep(ctx context.Context, p *process) int {
	if len(p.args) < 2 {
		return p.fail("missing operand")
	}
	var sum time.Duration
	for _, arg := range p.args[1:] {
		d, err := duration(arg)
		if err != nil {
			return p.fail("invalid number '%s'", arg)
		}
		sum = min(sum+d, maxSleep)
	}
	if !wait(ctx, sum) {
		return 1
	}
	return 0
}

const maxSleep = 100 * 365 * 24 * time.Hour

// duration reads seconds, or a number with one of s, m, h and d.
func duration(text string) (time.Duration, error) {
	if text == "inf" || text == "infinity" {
		return maxSleep, nil
	}
	unit := time.Second
	if text != "" {
		if u, found := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[text[len(text)-1]]; found {
			unit, text = u, text[:len(text)-1]
		}
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !(value >= 0) {
		return 0, errInvalid
	}
	return time.Duration(min(value*float64(unit), float64(maxSleep))), nil
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
		{'s', kernelName}, {'n', p.container.config.Hostname}, {'r', kernelRelease}, {'v', kernelVersion}, {'m', machine}, {'o', kernelName},
	} {
		if o.has(part.option) || o.has('a') || len(o.count) == 0 && part.option == 's' {
			words = append(words, part.text)
		}
	}
	return p.print(strings.Join(words, " ") + "\n")
}

func uptime(_ context.Context, p *process) int {
	up := p.container.uptime().Truncate(time.Minute)
	days, hours, minutes := int(up.Hours())/24, int(up.Hours())%24, int(up.Minutes())%60
	text := fmt.Sprintf("%d min", minutes)
	if hours > 0 {
		text = fmt.Sprintf("%2d:%02d", hours, minutes)
	}
	if days == 1 {
		text = "1 day, " + text
	} else if days > 1 {
		text = fmt.Sprintf("%d days, %s", days, text)
	}
	return p.print(fmt.Sprintf(" %s up %s,  load average: 0.08, 0.03, 0.01\n", p.container.config.Now().UTC().Format("15:04:05"), text))
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
	return p.print(fmt.Sprintf("              total        used        free      shared  buff/cache   available\nMem:    %11d %11d %11d %11d %11d %11d\nSwap:   %11d %11d %11d\n",
		memoryTotal>>shift, (memoryTotal-memoryFree-1<<20)>>shift, memoryFree>>shift, 0, 1<<20>>shift, (memoryFree+1<<20)>>shift, 0, 0, 0))
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
	return p.print(fmt.Sprintf("Filesystem           %s Mounted on\noverlay              %9s %9s %9s %3d%% /\n", head, show(total), show(used), show(total-used), (used*100+total-1)/total))
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

// test is that of the shell.
func test(ctx context.Context, p *process) int {
	name := path.Base(p.args[0])
	return runShell(ctx, &process{
		session: p.session, container: p.container, pid: p.pid, args: append([]string{"sh", "-c", name + ` "$@"`, name}, p.args[1:]...), env: p.env,
		dir: p.dir, stdin: p.stdin, stdout: p.stdout, stderr: p.stderr,
	})
}

func date(_ context.Context, p *process) int {
	o, args, ok := p.parse("uRId:r:", map[string]rune{"utc": 'u', "universal": 'u', "iso-8601": 'I'})
	if !ok {
		return 1
	}
	now := p.container.config.Now().UTC()
	if text, found := o.value['d']; found {
		seconds, err := strconv.ParseInt(strings.TrimPrefix(text, "@"), 10, 64)
		now = time.Unix(seconds, 0).UTC()
		if err != nil {
			for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
				if now, err = time.Parse(layout, text); err == nil {
					break
				}
			}
		}
		if err != nil {
			return p.fail("invalid date '%s'", text)
		}
	}
	if name, found := o.value['r']; found {
		info, err := p.container.files.stat(p.user(), p.path(name))
		if err != nil {
			return p.fail("%s: %v", name, err)
		}
		now = info.modTime.UTC()
	}
	format := "%a %b %e %H:%M:%S UTC %Y"
	switch {
	case len(args) > 0 && strings.HasPrefix(args[0], "+"):
		format = args[0][1:]
	case len(args) > 0:
		return p.fail("can't set date: %v", errNotPermitted)
	case o.has('R'):
		format = "%a, %d %b %Y %H:%M:%S %z"
	case o.has('I'):
		format = "%Y-%m-%d"
		if o.value['I'] == "seconds" {
			format = "%Y-%m-%dT%H:%M:%S+00:00"
		}
	}
	return p.print(formatTime(now, format) + "\n")
}

// formatTime is strftime, of UTC.
func formatTime(t time.Time, format string) string {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'y': "06", 'a': "Mon", 'A': "Monday",
		'b': "Jan", 'h': "Jan", 'B': "January", 'j': "002", 'Z': "UTC", 'z': "-0700", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06",
		'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'N': "000000000",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch c := format[i]; c {
		case 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case 'N':
			fmt.Fprintf(&b, "%09d", t.Nanosecond())
		case 'u':
			b.WriteString(strconv.Itoa((int(t.Weekday())+6)%7 + 1))
		case 'w':
			b.WriteString(strconv.Itoa(int(t.Weekday())))
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '%':
			b.WriteByte('%')
		default:
			if layout, found := layouts[c]; found {
				b.WriteString(t.Format(layout))
			} else {
				b.WriteString(format[i-1 : i+1])
			}
		}
	}
	return b.String()
}
