package pods

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func newSimpleEnvironment(t *testing.T, config ContainerConfig) Environment {
	t.Helper()
	e, err := simpleExecutor{}.NewEnvironment(config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSimpleCommands(t *testing.T) {
	for _, test := range []struct {
		name    string
		env     []string // COLOR=blue if empty
		command []string
		stdin   string
		stdout  string
		stderr  string
		code    int
	}{
		{name: "echo", command: []string{"echo", "a", "b"}, stdout: "a b\n"},
		{name: "echo without line feed", command: []string{"/bin/echo", "-n", "a"}, stdout: "a"},
		{name: "cat stdin", command: []string{"cat"}, stdin: "input", stdout: "input"},
		{name: "cat files", command: []string{"cat", "a.txt", "/srv/sub/b.txt"}, stdout: "first\nsecond\n"},
		{name: "cat system file", command: []string{"cat", "/etc/hostname"}, stdout: "web-1\n"},
		{name: "cat missing file", command: []string{"cat", "none"},
			stderr: "cat: can't open 'none': No such file or directory\n", code: 1},
		{name: "cat directory", command: []string{"cat", "sub"}, stderr: "cat: read error: Is a directory\n", code: 1},
		{name: "ls working directory", command: []string{"ls"}, stdout: "a.txt\nsub\n"},
		{name: "ls directory", command: []string{"ls", "-1", "/"}, stdout: "etc\nsrv\n"},
		{name: "ls file", command: []string{"ls", "a.txt"}, stdout: "a.txt\n"},
		{name: "ls missing", command: []string{"ls", "none"}, stderr: "ls: none: No such file or directory\n", code: 1},
		{name: "env", command: []string{"env"}, stdout: "COLOR=blue\n" +
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=web-1\nHOME=/\n"},
		{name: "env with an empty variable", env: []string{"HOME=", "PATH=/bin", "HOSTNAME=x"},
			command: []string{"env"}, stdout: "HOME=\nPATH=/bin\nHOSTNAME=x\n"},
		{name: "hostname", command: []string{"hostname"}, stdout: "web-1\n"},
		{name: "id", command: []string{"id"}, stdout: "uid=1000 gid=3000 groups=3000\n"},
		{name: "id -u", command: []string{"id", "-u"}, stdout: "1000\n"},
		{name: "true", command: []string{"true"}},
		{name: "false", command: []string{"false"}, code: 1},
		{name: "sleep", command: []string{"sleep", "0.001"}},
		{name: "sleep without number", command: []string{"sleep", "long"}, stderr: "sleep: invalid number 'long'\n",
			code: 1},
		{name: "sh", command: []string{"sh", "-c", `echo 'a  b' "$COLOR-${COLOR}" \$x $NONE`},
			stdout: "a  b blue-blue $x\n"},
		{name: "sh special characters in words", command: []string{"sh", "-c", `echo 5$ "$" a#b a~b x{y} x[1] ]`},
			stdout: "5$ $ a#b a~b x{y} x[1] ]\n"},
		{name: "sh comment", command: []string{"sh", "-c", "#a"}, code: 2,
			stderr: "sh: syntax error: \"#\" is not supported; commands here are limited to `sh -c` with one " +
				"simple command\n"},
		{name: "sh exit", command: []string{"/bin/sh", "-c", "exit 3"}, code: 3},
		{name: "sh empty", command: []string{"sh", "-c", " "}},
		{name: "sh unknown command", command: []string{"sh", "-c", "grep a"}, stderr: "sh: grep: not found\n",
			code: 127},
		{name: "sh pipe", command: []string{"sh", "-c", "echo a | cat"}, code: 2,
			stderr: "sh: syntax error: \"|\" is not supported; commands here are limited to `sh -c` with one " +
				"simple command\n"},
		{name: "sh command substitution", command: []string{"sh", "-c", `echo "$(date)"`}, code: 2,
			stderr: "sh: syntax error: \"$(\" is not supported; commands here are limited to `sh -c` with one " +
				"simple command\n"},
		{name: "sh open quote", command: []string{"sh", "-c", "echo 'a"}, code: 2,
			stderr: "sh: syntax error: unterminated quoted string; commands here are limited to `sh -c` with one " +
				"simple command\n"},
		{name: "sh interactive", command: []string{"sh"}, code: 2,
			stderr: "sh: no script; commands here are limited to `sh -c` with one simple command\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.env == nil {
				test.env = []string{"COLOR=blue"}
			}
			e := newSimpleEnvironment(t, ContainerConfig{
				Hostname: "web-1", IP: "10.0.0.7", UID: 1000, GID: 3000, WorkingDir: "/srv", Env: test.env,
				Files: map[string]string{"/srv/a.txt": "first\n", "/srv/sub/b.txt": "second\n"},
			})
			var stdout, stderr bytes.Buffer
			code, err := e.Run(t.Context(), test.command,
				Streams{Stdin: strings.NewReader(test.stdin), Stdout: &stdout, Stderr: &stderr})
			if err != nil || code != test.code || stdout.String() != test.stdout || stderr.String() != test.stderr {
				t.Errorf("code %d, error %v, stdout %q, stderr %q; want code %d, stdout %q, stderr %q",
					code, err, &stdout, &stderr, test.code, test.stdout, test.stderr)
			}
		})
	}
}

func TestSimpleCommandCannotStart(t *testing.T) {
	e := newSimpleEnvironment(t, ContainerConfig{})
	for _, command := range [][]string{nil, {""}, {"grep", "a"}} {
		code, err := e.Run(t.Context(), command, Streams{})
		var start *StartError
		if !errors.As(err, &start) || code != 127 || start.Code != 127 ||
			!strings.Contains(start.Text, "executable file not found in $PATH") {
			t.Errorf("command %q: code %d, error %v; want a StartError with code 127", command, code, err)
		}
	}
}

func TestSimpleCommandEndsWithContext(t *testing.T) {
	e := newSimpleEnvironment(t, ContainerConfig{})
	input, keep := io.Pipe()
	defer keep.Close()
	for _, command := range [][]string{{"sleep", "1h"}, {"cat"}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		code, err := e.Run(ctx, command, Streams{Stdin: input, Stdout: io.Discard})
		cancel()
		if code != killedCode || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("command %q: code %d, error %v; want code 137 and the error of the context", command, code, err)
		}
	}
}

func TestSimpleCommandOnTerminal(t *testing.T) {
	e := newSimpleEnvironment(t, ContainerConfig{})
	for _, end := range []string{"\x03", "\x04"} {
		input, typed := io.Pipe() // stays open, as the input of a terminal does
		go io.WriteString(typed, "hi\r"+end+"more")
		var screen bytes.Buffer
		code, err := e.Run(t.Context(), []string{"cat"}, Streams{Stdin: input, Stdout: &screen, TTY: true})
		if code != 0 || err != nil || screen.String() != "hi\r\nhi\r\n" {
			t.Errorf("code %d, error %v, screen %q; want the input twice: as echo and as output of cat", code, err,
				&screen)
		}
		input.Close()
	}
}
