package shell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/expand"
)

func echo(p *process) int {
	args, end, escapes := p.args[1:], "\n", false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], "neE") == "" {
		if strings.Contains(args[0], "n") {
			end = ""
		}
		escapes = strings.Contains(args[0], "e")
		args = args[1:]
	}
	text := strings.Join(args, " ")
	if escapes {
		var stop bool
		if text, _, stop = strings.Cut(text, `\c`); stop {
			end = ""
		}
		text = unescape(text)
	}
	return p.print(text + end)
}

// unescape replaces the escapes of echo -e, printf and tr, such as \n. Octal numbers may begin with a 0.
func unescape(text string) string {
	text = octal.ReplaceAllString(text, `\$1`)
	// If the Config were nil, package expand would use one global Config, and commands of all containers would share
	// its buffer.
	text, _, _ = expand.Format(&expand.Config{}, text, nil)
	return text
}

var octal = regexp.MustCompile(`\\0([0-7]{3})`)

// conversion matches a conversion in a format of printf, as in %-5s.
var conversion = regexp.MustCompile(`%([-+ #0]*[0-9]{0,3}(?:\.[0-9]{0,3})?)(.?)`)

func printFormatted(p *process) int {
	args := p.args[1:]
	if len(args) == 0 {
		p.fail("usage: printf FORMAT [ARG]...")
		return 2
	}
	format, args := unescape(args[0]), args[1:]
	if !p.take(byteOfLine * len(format)) {
		return 1
	}
	conversions := conversion.FindAllStringSubmatchIndex(format, -1)
	for {
		left, end := len(args), 0
		for _, at := range conversions {
			p.print(format[end:at[0]])
			end = at[1]
			spec, verb := format[at[2]:at[3]], format[at[4]:at[5]]
			if verb == "%" {
				p.print("%")
				continue
			}
			arg := ""
			if len(args) > 0 {
				arg, args = args[0], args[1:]
			}
			text, err := formatOne(spec, verb, arg)
			if err != nil {
				p.fail("%v", err)
			}
			p.print(text)
		}
		p.print(format[end:])
		if len(args) == 0 || len(args) == left || p.ctx.Err() != nil {
			return p.exit
		}
	}
}

// formatOne formats one argument of printf. spec contains the flags, width and precision of the conversion.
func formatOne(spec, verb, arg string) (text string, err error) {
	var value any
	switch verb {
	case "s":
		value = arg
	case "b":
		verb, value = "s", unescape(arg)
	case "c":
		verb, value = "s", arg[:min(1, len(arg))]
	case "d", "i", "u", "o", "x", "X":
		if value, err = strconv.ParseInt(cmp.Or(arg, "0"), 0, 64); strings.Contains("iu", verb) {
			verb = "d"
		}
	case "f", "e", "g":
		value, err = strconv.ParseFloat(cmp.Or(arg, "0"), 64)
	default:
		return "", fmt.Errorf("%%%s%s: invalid format", spec, verb)
	}
	if err != nil {
		err = fmt.Errorf("invalid number '%s'", arg)
	}
	return fmt.Sprintf("%"+spec+verb, value), err
}

func yes(p *process) int {
	line := cmp.Or(strings.Join(p.args[1:], " "), "y") + "\n"
	for many := strings.Repeat(line, 1+1000/len(line)); p.printf("%s", many); {
	}
	return 1
}

func env(p *process) int {
	var list []string
	if !p.options.has('i') {
		list = slices.Clone(p.env)
	}
	args := p.operands
	for len(args) > 0 && strings.Contains(args[0], "=") {
		key, _, _ := strings.Cut(args[0], "=")
		list = slices.DeleteFunc(list, func(entry string) bool { return strings.HasPrefix(entry, key+"=") })
		list, args = append(list, args[0]), args[1:]
	}
	if len(args) > 0 {
		return p.child(args, list)
	}
	for _, entry := range list {
		p.print(entry + "\n")
	}
	return 0
}

func printEnv(p *process) int {
	for _, entry := range p.env {
		if len(p.args) == 1 {
			p.print(entry + "\n")
		}
	}
	for _, key := range p.args[1:] {
		if value, found := lookupEnv(p.env, key); found {
			p.print(value + "\n")
		} else {
			p.exit = 1
		}
	}
	return 0
}

func hostName(p *process) int {
	if p.options.has('i') {
		return p.print(cmp.Or(p.container.config.IP, "127.0.0.1") + "\n")
	}
	return p.print(p.container.config.Hostname + "\n")
}

func id(p *process) int {
	c, o := p.container, p.options
	name, group := userName(c.config.UID), groupName(c.config.GID)
	uid, gid := strconv.FormatInt(c.config.UID, 10), strconv.FormatInt(c.config.GID, 10)
	text := fmt.Sprintf("uid=%s(%s) gid=%s(%s) groups=%s(%s)", uid, name, gid, group, gid, group)
	switch groups := o.has('g') || o.has('G'); {
	case groups && o.has('n'):
		text = group
	case groups:
		text = gid
	case o.has('n'):
		text = name
	case o.has('u'):
		text = uid
	}
	return p.print(text + "\n")
}

func listProcesses(p *process) int {
	p.print("PID   USER     TIME  COMMAND\n")
	show := func(pid int, args []string) {
		command := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return '?'
			}
			return r
		}, strings.Join(args, " "))
		p.printf("%5d %-8.8s  0:00 %.1024s\n", pid, userName(p.container.config.UID), command)
	}
	show(1, p.container.config.Command)
	for _, pid := range p.container.pids() {
		if other := p.container.process(pid); other != nil {
			show(pid, other.args)
		}
	}
	return 0
}

// signals maps the names and numbers that kill accepts to signals. Signal 0 only checks that the process exists. Every
// other signal ends the process.
var signals = map[string]int{"HUP": 1, "INT": sigInt, "QUIT": 3, "KILL": sigKill, "TERM": sigTerm, "0": 0, "1": 1,
	"2": sigInt, "3": 3, "9": sigKill, "15": sigTerm}

func kill(p *process) int {
	args, number := p.args[1:], sigTerm
	if len(args) > 1 && strings.HasPrefix(args[0], "-") {
		name := strings.TrimPrefix(args[0], "-")
		if args = args[1:]; name == "s" {
			name, args = args[0], args[1:]
		}
		known, found := signals[strings.TrimPrefix(strings.ToUpper(name), "SIG")]
		if number = known; !found {
			return p.fail("bad signal name '%s'", name)
		}
	}
	if len(args) == 0 {
		return p.fail("you need to specify whom to kill")
	}
	for _, arg := range args {
		pid, _ := strconv.Atoi(arg)
		other := p.container.process(pid)
		switch {
		case pid == 1: // the kernel does not kill process 1 with a signal that it does not handle
		case other == nil:
			p.fail("can't kill pid %s: No such process", arg)
		case number != 0:
			other.kill(signal(number))
		}
	}
	return 0
}

func systemName(p *process) int {
	var words []string
	for i, text := range []string{kernelName, p.container.config.Hostname, kernelRelease, kernelVersion, machine} {
		option := rune("snrvm"[i])
		if p.options.has(option) || p.options.has('a') || len(p.options) == 0 && option == 's' {
			words = append(words, text)
		}
	}
	return p.print(strings.Join(words, " ") + "\n")
}

// diskFree implements df. It lists one file system, whose size is the limit for the files of the container.
func diskFree(p *process) int {
	used, size := p.container.files.used()>>10, p.container.files.size>>10
	return p.print(fmt.Sprintf("Filesystem           1K-blocks      Used Available Use%% Mounted on\n"+
		"overlay              %9d %9d %9d %3d%% /\n", size, used, size-used, used*100/size))
}

func uptime(p *process) int {
	now := p.container.now().UTC()
	up := int(now.Sub(p.container.config.Started).Minutes())
	return p.print(fmt.Sprintf(" %s up %d days, %2d:%02d,  load average: 0.00, 0.00, 0.00\n",
		now.Format(time.TimeOnly), up/1440, up/60%24, up%60))
}

func which(p *process) int {
	for _, name := range p.operands {
		if file, err := p.lookPath(name); err != nil {
			p.exit = 1
		} else {
			p.print(file + "\n")
		}
	}
	return 0
}

func terminalName(p *process) int {
	if terminalOf(p.stdin) != nil {
		return p.print("/dev/pts/0\n")
	}
	p.print("not a tty\n")
	return 1
}

// terminalSize implements stty size.
func terminalSize(p *process) int {
	t := terminalOf(p.stdin)
	if t == nil || p.arg(1) != "size" {
		return p.fail("usage: stty size, with a terminal as standard input")
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	p.printf("%d %d\n", t.size.Height, t.size.Width)
	return 0
}

func sleep(p *process) int {
	if len(p.args) < 2 {
		return p.fail("missing operand")
	}
	d, err := duration(p.args[1])
	if err != nil {
		return p.fail("invalid number '%s'", p.args[1])
	}
	defer p.meter.skip()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return 0
	case <-p.ctx.Done():
		return 1
	}
}

// duration parses seconds, or a number with the unit s, m, h or d.
func duration(text string) (time.Duration, error) {
	const longest = 100 * 365 * 24 * time.Hour
	if text == "inf" || text == "infinity" {
		return longest, nil
	}
	number := strings.TrimRight(text, "smhd")
	unit := map[string]time.Duration{"": time.Second, "s": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour}[text[len(number):]]
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || unit == 0 || !(value >= 0) {
		return 0, errInvalid
	}
	return time.Duration(min(value*float64(unit), float64(longest))), nil
}

func timeout(p *process) int {
	if len(p.operands) < 2 {
		return p.fail("missing operand")
	}
	d, err := duration(p.operands[0])
	if err != nil {
		return p.fail("invalid number '%s'", p.operands[0])
	}
	ctx, cancel := context.WithTimeoutCause(p.ctx, d, signal(sigTerm))
	defer cancel()
	p.ctx = ctx
	exit := p.child(p.operands[1:], p.env)
	if errors.Is(context.Cause(ctx), signal(sigTerm)) {
		return 128 + sigTerm
	}
	return exit
}

// dateLayouts maps the conversions of date, such as %Y, to layouts of package time.
var dateLayouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'y': "06",
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'j': "002", 'Z': "UTC", 'z': "-0700", 'F': "2006-01-02",
	'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'c': "Mon Jan _2 15:04:05 2006",
}

func date(p *process) int {
	now, layout := p.container.now().UTC(), "+%a %b %e %T UTC %Y"
	if len(p.operands) > 0 {
		layout = p.operands[0]
	}
	format, ok := strings.CutPrefix(layout, "+")
	if !ok {
		return p.fail("invalid date '%s'", layout)
	}
	return p.print(dateConversion.ReplaceAllStringFunc(format, func(found string) string {
		switch c := found[1]; c {
		case 's':
			return strconv.FormatInt(now.Unix(), 10)
		case 'N':
			return fmt.Sprintf("%09d", now.Nanosecond())
		case '%':
			return "%"
		default:
			return now.Format(cmp.Or(dateLayouts[c], found))
		}
	}) + "\n")
}

var dateConversion = regexp.MustCompile(`%.`)
