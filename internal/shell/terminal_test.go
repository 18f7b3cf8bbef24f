package shell

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen records what a client sees on a terminal.
type screen struct {
	lock sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.String()
}

// The function "typed" runs a command on a terminal. The steps are pairs: an output to wait for, and then the keys to
// type. The function returns everything that the screen has shown, and the exit code.
func typed(t *testing.T, c *container, resize <-chan Size, argv []string, steps ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	in, keys := io.Pipe()
	defer keys.Close()
	var out screen
	done := make(chan int, 1)
	go func() {
		defer in.Close()
		exit, err := c.Run(ctx, argv, Streams{Stdin: in, Stdout: &out, TTY: true, Resize: resize})
		if err != nil {
			exit = -1
		}
		done <- exit
	}()
	seen := 0
	for i := 0; i+1 < len(steps); i += 2 {
		for !strings.Contains(out.String()[seen:], steps[i]) {
			select {
			case exit := <-done:
				t.Fatalf("ended with %d before %q was seen:\n%q", exit, steps[i], out.String())
			case <-ctx.Done():
				t.Fatalf("%q was not seen:\n%q", steps[i], out.String()[seen:])
			case <-time.After(time.Millisecond):
			}
		}
		seen += strings.Index(out.String()[seen:], steps[i]) + len(steps[i])
		if _, err := io.WriteString(keys, steps[i+1]); err != nil {
			t.Fatalf("typing %q: %v\n%q", steps[i+1], err, out.String())
		}
	}
	select {
	case exit := <-done:
		return out.String(), exit
	case <-ctx.Done():
		t.Fatalf("the command does not end:\n%q", out.String())
	}
	return "", 0
}

// TestTerminal runs a shell and other commands on a terminal.
func TestTerminal(t *testing.T) {
	const prompt = "/ # "
	for _, test := range []struct {
		name  string
		argv  string
		steps []string // in turn: an output to wait for, and keys to type
		want  []string // on the screen, in this order
		exit  int
	}{
		{"a line", "sh", []string{prompt, "echo hi\r", prompt, "exit 3\r"},
			[]string{"/ # echo hi\r\nhi\r\n/ # exit 3\r\n"}, 3},
		{"state", "sh", []string{prompt, "x=1; cd /data\r", "/data # ", "echo $x $PWD; f() { echo f$1; }\r", "/data # ",
			"f 2\r", "/data # ", "exit\r"}, []string{"\r\n1 /data\r\n", "\r\nf2\r\n"}, 0},
		{"end", "sh", []string{prompt, "false\r", prompt, "\x04"}, []string{"/ # \r\n"}, 1},
		{"home", "sh", []string{prompt, "cd\r", "~ # ", "exit\r"}, []string{"~ # exit"}, 0},
		{"more lines", "sh", []string{prompt, "for i in a b; do\r", "> ", "echo \"i\r", "> ", "$i\"; done\r",
			"i\r\nb\r\n", "exit 0\r"}, []string{"\r\ni\r\na\r\ni\r\nb\r\n"}, 0},
		{"a backslash at the end", "sh", []string{prompt, "echo a\\\r", "> ", "b\r", "ab\r\n", "exit\r"},
			[]string{"\r\nab\r\n"}, 0},
		{"editing", "sh", []string{prompt, "ecko hi\x1b[D\x1b[D\x1b[D\x1b[D\x7fh\x05!\x08\r", "\r\nhi\r\n", "exit\r"},
			[]string{"\r\nhi\r\n"}, 0},
		{"history", "sh", []string{prompt, "echo one\r", prompt, "echo two\r", prompt, "\x1b[A\x1b[A\r",
			"\r\none\r\n/ # ", "exit\r"}, []string{"one\r\n", "two\r\n", "one\r\n"}, 0},
		{"interrupt of a line", "sh", []string{prompt, "echo no\x03", "^C\r\n/ # ", "echo $?\r", "130\r\n", "exit 5\r"},
			[]string{"/ # echo no^C\r\n/ # echo $?\r\n130\r\n"}, 5},
		{"interrupt of a command", "sh",
			[]string{prompt, "sleep 1000\r", "\r\n", "\x03", "^C\r\n/ # ", "echo $?\r", "130\r\n", "exit\r"},
			[]string{"sleep 1000\r\n^C\r\n/ # "}, 0},
		{"interrupt of a command that reads", "sh",
			[]string{prompt, "cat | cat\r", "\r\n", "\x03", "^C\r\n/ # ", "echo $?\r", "130\r\n", "exit\r"},
			[]string{"cat | cat\r\n^C\r\n/ # "}, 0},
		{"interrupt of a loop", "sh",
			[]string{prompt, "while :; do x=$(sleep 1); done; echo no\r", "\r\n", "\x03", "^C\r\n/ # ", "exit 1\r"},
			[]string{"^C\r\n/ # exit 1\r\n"}, 1},
		{"interrupt of endless output", "sh",
			[]string{prompt, "while :; do echo y; sleep 0.01; done\r", "y\r\ny\r\n", "\x03", "^C\r\n/ # ", "exit\r"},
			nil, 130},
		{"interrupt of a command that reads the terminal", "sh",
			[]string{prompt, "cat /dev/tty\r", "\r\n", "\x03", "^C\r\n/ # ", "cat < /dev/tty\r", "\r\n", "\x03",
				"^C\r\n/ # ", "exit 4\r"}, []string{"exit 4"}, 4},
		{"interrupt after many lines", "sh", []string{prompt, "sleep 1000\r" + strings.Repeat("x\r\x04", 300) +
			strings.Repeat(strings.Repeat("x", 1000)+"\r", 300) + "\x03", "^C\r\n/ # ", "exit 7\r"},
			[]string{"exit 7"}, 7},
		{"interrupt after two shells", "sh",
			[]string{prompt, "sh 2>&1 | sh < /dev/tty\r", prompt, "", prompt, "exit\rexit\r", prompt, "sleep 1000\r",
				"\r\n", "\x03", "^C\r\n/ # ", "exit 9\r"}, []string{"exit 9"}, 9},
		{"interrupt of exec", "sh", []string{prompt, "exec sh -c \"echo g''o; sleep 1000\"\r", "\r\ngo\r\n", "\x03"},
			[]string{"^C\r\n"}, 130},
		{"end in a construct", "sh", []string{prompt, "for i in 1; do\r", "> ", "\x04"},
			[]string{"> sh: line 1: syntax error: "}, 2},
		{"input of a command", "sh",
			[]string{prompt, "cat\r", "\r\n", "hellp\x7fo\r", "hello\r\n", "\x04", prompt, "exit\r"},
			[]string{"\r\nhello\r\n/ # "}, 0},
		{"typed ahead", "sh", []string{prompt, "cat\rone\r\x04echo two\rexit 6\r"},
			[]string{"one\r\n", "one\r\n", "two\r\n"}, 6},
		{"read", "sh", []string{prompt, "read -r x; echo \"<$x>\"\r", "\r\n", "a b\r", "<a b>\r\n", "exit\r"},
			[]string{"a b\r\n<a b>\r\n"}, 0},
		{"it is one", "sh", []string{prompt, "tty; [ -t 0 ] && [[ -t 1 ]] && echo $TERM; stty size\r", "24 80\r\n",
			"exit\r"}, []string{"/dev/pts/0\r\nxterm\r\n24 80\r\n"}, 0},
		{"errors come to it", "sh", []string{prompt, "nope\r", prompt, "ls /nope\r", prompt, "fi\r", prompt, "exit\r"},
			[]string{"sh: nope: not found\r\n", "ls: /nope: No such file or directory\r\n", "syntax error"}, 2},
		{"a script", "sh -c read_x;echo_got_$x", []string{"", "q\r"}, []string{"q\r\ngot q\r\n"}, 0},
		{"interrupt of a script", "sh -c echo_go;sleep_1000;echo_no", []string{"go\r\n", "\x03"}, []string{"go\r\n^C"},
			130},
		{"a command", "cat", []string{"", "a\r", "a\r\na\r\n", "\x04"}, []string{"a\r\na\r\n"}, 0},
		{"interrupt of a command without a shell", "sleep 1000", []string{"", "\x03"}, []string{"^C"}, 130},
		{"a shell in a shell", "sh",
			[]string{prompt, "sh\r", "\r\n/ # ", "exit 4\r", prompt, "echo $?\r", "4\r\n", "exit\r"},
			[]string{"echo $?\r\n4\r\n"}, 0},
		{"exit by a trap", "sh", []string{prompt, "trap 'echo bye' EXIT\r", prompt, "exit 2\r"},
			[]string{"exit 2\r\nbye\r\n"}, 2},
		{"background", "sh", []string{prompt, "sleep 1000 &\r", prompt,
			"while ! ps | grep '[ ]sleep 1000'; do :; done\r", " sleep 1000\r\n", "exit\r"},
			[]string{" sleep 1000\r\n"}, 0},
		{"carriage returns", "sh", []string{prompt, "ls /data\r", prompt, "exit\r"},
			[]string{"\r\na.txt\r\nb.txt\r\n"}, 0},
		{"kill", "sh", []string{prompt, "sleep 1000 & \r", prompt, "while ! ps | grep '[ ]sleep 1000'; do :; done\r",
			" sleep 1000\r\n/ # ", "kill $(ps | grep '[ ]sleep 1000' | sed 's/^ *//' | cut -d' ' -f1); wait $!; " +
				"echo =$?\r", "\r\n=143\r\n", "exit\r"}, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			argv := strings.Split(test.argv, " ")
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "_", " ")
			}
			text, exit := typed(t, newContainer(t), nil, argv, test.steps...)
			if exit != test.exit {
				t.Errorf("exit code %d, want %d\n%q", exit, test.exit, text)
			}
			rest := text
			for _, want := range test.want {
				at := strings.Index(rest, want)
				if at < 0 {
					t.Fatalf("the screen lacks %q, or has it in another order:\n%q", want, text)
				}
				rest = rest[at+len(want):]
			}
		})
	}
}

// writerFunc is a writer that calls a function.
type writerFunc func(string)

func (f writerFunc) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

// TestInterruptBetweenLines checks that ^C does not end a shell that has just run a line and will print its prompt.
func TestInterruptBetweenLines(t *testing.T) {
	prompts, prompted, interrupted := 0, make(chan struct{}), make(chan struct{})
	screen := writerFunc(func(text string) {
		if !strings.Contains(text, "/ # ") {
			return
		}
		if prompts++; prompts == 2 { // the first line has run, and the shell cannot read the next until the prompt is written
			close(prompted)
			<-interrupted
		}
	})
	in, keys := io.Pipe()
	defer keys.Close()
	go func() {
		_, _ = io.WriteString(keys, ":\r")
		<-prompted
		_, _ = io.WriteString(keys, "\x03")
		close(interrupted)
		_, _ = io.WriteString(keys, "exit 6\r")
	}()
	exit, err := newContainer(t).Run(t.Context(), []string{"sh"}, Streams{Stdin: in, Stdout: screen, TTY: true})
	if exit != 6 || err != nil {
		t.Errorf("exit code %d, error %v", exit, err)
	}
}

// TestTypedAhead checks that the terminal drops a line and rings the bell if it has no room for the line, and that
// there is room again after a command has read an earlier line.
func TestTypedAhead(t *testing.T) {
	var out screen
	c := newContainer(t)
	terminal := newTerminal(newSession(t.Context(), c, Streams{Stdout: &out}), Streams{})
	line := strings.Repeat("x", maxTyped/2)
	terminal.add(line)
	terminal.add(line)
	if out.String() != "\a" || len(terminal.lines) != 1 {
		t.Errorf("%d lines, screen %q", len(terminal.lines), out.String())
	}
	for rest := len(line); rest > 0; rest -= 1000 {
		terminal.take(t.Context(), 1000)
	}
	if terminal.add(line); out.String() != "\a" || terminal.typed != len(line)+16 {
		t.Errorf("%d bytes, screen %q", terminal.typed, out.String())
	}
}

// TestResize checks that a later change of the size is visible.
func TestResize(t *testing.T) {
	sizes := make(chan Size, 1)
	sizes <- Size{Width: 101, Height: 47}
	close(sizes)
	c := newContainer(t)
	text, _ := typed(t, c, sizes, []string{"sh"}, "/ # ",
		"while [ \"$(stty size)\" != '47 101' ]; do :; done; echo seen\r", "\r\nseen\r\n", "exit\r")
	if !strings.Contains(text, "seen") {
		t.Error(text)
	}
}

// TestResizeToNothing checks that a client that reports a size of 0x0 gets the usual size.
func TestResizeToNothing(t *testing.T) {
	sizes := make(chan Size, 1)
	c := newContainer(t)
	text, _ := typed(t, c, sizes, []string{"sh"}, "/ # ", "echo a''b\r", "ab\r\n", "exit\r")
	sizes <- Size{}
	close(sizes)
	sized, _ := typed(t, c, sizes, []string{"sh", "-c", "while read x; do stty size; done"}, "", "\r", "24 80\r\n",
		"\x04")
	if !strings.Contains(text, "/ # echo a''b\r\nab") || !strings.Contains(sized, "24 80") {
		t.Errorf("%q %q", text, sized)
	}
}

// TestInterruptOfReaders checks that ^C at once ends each command that reads the terminal, and that the prompt returns.
func TestInterruptOfReaders(t *testing.T) {
	for _, command := range []string{
		"cat", "grep x", "read x", "wc", "sort", "tee /tmp/x", "head", "tail", "tar xf -", "sed p", "cut -c 1",
		"tr a b",
		"uniq", "xargs", "base64", "md5sum", "cat - -", "cat | cat", "grep x | sort | wc", "(cat)", "x=$(cat)",
		"sh -c cat",
		"while read x; do echo; done", "{ cat; } < /dev/tty", "timeout 1000 cat", "env cat", "f() { cat; }; f",
		"cat /dev/tty",
		"cat <<< a - ", "tail -f -", "if cat; then echo; fi", "eval cat",
		// This shell has no /dev/stdin for ".". Its error could come between ^C and the prompt.
		". /dev/stdin 2> /dev/null; cat",
	} {
		t.Run(command, func(t *testing.T) {
			text, exit := typed(t, newContainer(t), nil, []string{"sh"}, "/ # ", "echo g''o; "+command+"\r",
				"\r\ngo\r\n",
				"\x03", "^C\r\n/ # ", "echo \"=$?\"\r", "=130\r\n/ # ", "exit 9\r")
			if exit != 9 {
				t.Errorf("exit code %d: %q", exit, text)
			}
		})
	}
}

// TestContext checks that commands end at once when their context ends.
func TestContext(t *testing.T) {
	for _, script := range []string{
		"sleep 1000", "cat", "read x", "while read x; do :; done", "sleep 1000 | cat", "cat | cat", "yes | sleep 1000",
		"sleep 1000 & wait", "tail -f /etc/motd",
		"x=$(sleep 1000)", "sh -c 'sh -c \"sleep 1000\"'", "timeout 1000 sleep 1000", "xargs",
		"cat <<EOF | { sleep 1000; cat; }\n" + strings.Repeat("x", 50_000) + "\nEOF",
		"head -c 30000000 /dev/zero > /tmp/x; sleep 1000 < /tmp/x", "exec < /dev/zero; sleep 1000",
		"trap 'sleep 1000' EXIT", "f() { sleep 1000; }; f | f | f",
		"{ sleep 1000; } 2>&1 > /tmp/x", "sh", "sort", "tar xf -", "tee /tmp/x", "sed p", "grep x | grep y | grep z",
		"while :; do sleep 1000 & wait; done",
	} {
		for _, tty := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			in, keys := io.Pipe()
			begin := time.Now()
			_, err := newContainer(t).Run(ctx, []string{"sh", "-c", script},
				Streams{Stdin: in, Stdout: io.Discard, Stderr: io.Discard, TTY: tty})
			if err != context.DeadlineExceeded {
				t.Errorf("%s: %v", script, err)
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("%s: took %v", script, took)
			}
			_ = keys.Close()
			cancel()
		}
	}
}
