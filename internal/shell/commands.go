package shell

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"strconv"
	"strings"
	"time"
)

// commands are the programs in /bin. Each returns its exit code, ends with its context, and prints busybox's
// messages. There are no commands that use a network (wget, nc, nslookup).
var commands map[string]func(context.Context, *process) int

// The table is filled in init, because some commands run others.
func init() {
	commands = map[string]func(context.Context, *process) int{
		"[":         test,
		"arch":      func(_ context.Context, p *process) int { return p.print(machine + "\n") },
		"ash":       runShell,
		"base64":    encodeBase64,
		"basename":  baseName,
		"bash":      runShell,
		"cat":       cat,
		"chmod":     chmod,
		"clear":     func(_ context.Context, p *process) int { return p.print("\x1b[H\x1b[J") },
		"cp":        copyFiles,
		"cut":       cut,
		"date":      date,
		"df":        diskFree,
		"dirname":   dirName,
		"du":        diskUsage,
		"echo":      echo,
		"env":       env,
		"false":     func(context.Context, *process) int { return 1 },
		"find":      find,
		"free":      free,
		"grep":      grep,
		"egrep":     grep,
		"fgrep":     grep,
		"head":      head,
		"hostname":  hostName,
		"id":        id,
		"kill":      kill,
		"ln":        link,
		"ls":        list,
		"md5sum":    digest(md5.New),
		"mkdir":     makeDirectory,
		"mktemp":    makeTemporary,
		"mv":        move,
		"nproc":     func(_ context.Context, p *process) int { return p.print(strconv.Itoa(processors) + "\n") },
		"printenv":  printEnv,
		"printf":    printFormatted,
		"ps":        listProcesses,
		"pwd":       func(_ context.Context, p *process) int { return p.print(p.dir + "\n") },
		"readlink":  readLink,
		"realpath":  readLink,
		"rm":        removeFiles,
		"rmdir":     removeDirectory,
		"sed":       edit,
		"seq":       sequence,
		"sh":        runShell,
		"sha1sum":   digest(sha1.New),
		"sha256sum": digest(sha256.New),
		"sha512sum": digest(sha512.New),
		"sleep":     sleep,
		"sort":      sortLines,
		"stat":      describeFile,
		"stty":      terminalSize,
		"sync":      func(context.Context, *process) int { return 0 },
		"tail":      tail,
		"tar":       archive,
		"tee":       tee,
		"test":      test,
		"timeout":   timeout,
		"touch":     touch,
		"tr":        translate,
		"true":      func(context.Context, *process) int { return 0 },
		"tty":       terminalName,
		"uname":     systemName,
		"uniq":      unique,
		"uptime":    uptime,
		"wc":        count,
		"which":     which,
		"whoami": func(_ context.Context, p *process) int {
			return p.print(p.container.userName(p.user().uid) + "\n")
		},
		"xargs": repeat,
		"yes":   yes,
	}
}

func (p *process) print(text string) int {
	if _, err := p.stdout.Write([]byte(text)); err != nil {
		return p.writeError(err)
	}
	return 0
}

func (p *process) writeError(err error) int {
	if p.broken.Load() {
		return 128 + sigPipe
	}
	return p.fail("write error: %v", err)
}

// buffered returns standard output with a buffer. The caller must flush it.
func (p *process) buffered() *bufio.Writer { return bufio.NewWriter(p.stdout) }

// finish flushes a buffer and returns the exit code.
func (p *process) finish(out *bufio.Writer, exit int) int {
	if err := out.Flush(); err != nil {
		return p.writeError(err)
	}
	return exit
}

// options are the parsed options of a command: how often each was given, and its last value.
type options struct {
	count map[rune]int
	value map[rune]string
}

func (o options) has(option rune) bool { return o.count[option] > 0 }

// number returns the value of an option as a non-negative number.
func (o options) number(option rune, fallback int) (int, bool) {
	value, found := o.value[option]
	if !found {
		return fallback, true
	}
	n, err := strconv.Atoi(value)
	return n, err == nil && n >= 0
}

// parse parses options. In known, a colon follows an option with a value. A + at the front means that options end at
// the first other argument. long maps long options to short ones; 0 means that the option is accepted and ignored.
func (p *process) parse(known string, long map[string]rune) (o options, rest []string, ok bool) {
	o = options{count: map[rune]int{}, value: map[rune]string{}}
	known, inOrder := strings.CutPrefix(known, "+")
	args := p.args[1:]
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return o, append(rest, args...), true
		case strings.HasPrefix(arg, "--"):
			name, value, _ := strings.Cut(arg[2:], "=")
			option, found := long[name]
			if !found {
				p.fail("unrecognized option: %s", name)
				return o, nil, false
			}
			o.count[option]++
			o.value[option] = value
		case len(arg) > 1 && arg[0] == '-':
			for i, option := range arg[1:] {
				at := strings.IndexRune(known, option)
				if at < 0 || option == ':' {
					p.fail("unrecognized option: %c", option)
					return o, nil, false
				}
				o.count[option]++
				if strings.HasPrefix(known[at+1:], ":") {
					value := arg[1+i+1:]
					if value == "" {
						if len(args) == 0 {
							p.fail("option requires an argument: %c", option)
							return o, nil, false
						}
						value, args = args[0], args[1:]
					}
					o.value[option] = value
					break
				}
			}
		default:
			rest = append(rest, arg)
			if inOrder {
				return o, append(rest, args...), true
			}
		}
	}
	return o, rest, true
}

// wait waits for a duration. It returns false if the context ends first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
