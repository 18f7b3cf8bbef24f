package shell

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestConcurrent runs many clients of one container at the same time.
func TestConcurrent(t *testing.T) {
	c := newContainer(t)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for j := range 5 {
				script := fmt.Sprintf(`mkdir -p /tmp/d && echo %d-%d | tee /tmp/d/%d | cat; `+
					`cat /tmp/d/%d; echo x >> /tmp/all; ls / /tmp/d > /dev/null; ps | wc -l > /dev/null; `+
					`{ cat /tmp/all; } > /dev/null & wait; exit %d`, i, j, i, i, i)
				want := fmt.Sprintf("%d-%d\n%d-%d\n", i, j, i, j)
				if got := sh(t, c, script); got.stdout != want || got.exit != i {
					t.Errorf("%+v", got)
				}
			}
		})
	}
	wait.Wait()
	if got := sh(t, c, "wc -l < /tmp/all"); got.stdout != "80\n" {
		t.Errorf("%+v", got)
	}
}

// TestContainersShareNothing checks, with the race detector, that the commands of two containers do not share a buffer.
func TestContainersShareNothing(t *testing.T) {
	var wait sync.WaitGroup
	for _, letter := range []string{"a", "b"} {
		c := newContainer(t)
		wait.Go(func() {
			text := strings.Repeat(letter, 300)
			for range 200 {
				if got := run(t, c, "", "printf", text+`\n`); got.stdout != text+"\n" {
					t.Errorf("container %s printed %q", letter, got.stdout)
				}
			}
		})
	}
	wait.Wait()
}

// TestFollow checks that tail -f prints what another client writes, and that kill ends it.
func TestFollow(t *testing.T) {
	c := newContainer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		exit, _ := c.Run(ctx, []string{"tail", "-n", "1", "-f", "/data/a.txt"}, Streams{Stdout: in})
		done <- exit
	}()
	buffer := make([]byte, 100)
	expect := func(want string) {
		t.Helper()
		if n, err := io.ReadAtLeast(out, buffer, len(want)); err != nil || string(buffer[:n]) != want {
			t.Fatalf("%q, %v; want %q", buffer[:n], err, want)
		}
	}
	expect("three\n")
	sh(t, c, "echo four >> /data/a.txt")
	expect("four\n")
	if got := sh(t, c, "kill -9 2; kill -0 1"); got.exit != 0 {
		t.Errorf("%+v", got)
	}
	if exit := <-done; exit != 137 {
		t.Errorf("exit code %d", exit)
	}
}

// TestStreams checks that output arrives at once, that each stream may be nil, and that a command ends when its
// client has gone.
func TestStreams(t *testing.T) {
	c := newContainer(t)
	if exit, err := c.Run(t.Context(), []string{"sh", "-c", "echo a; echo b >&2; cat; exit 7"}, Streams{}); exit != 7 ||
		err != nil {
		t.Errorf("%d, %v", exit, err)
	}
	out, in := io.Pipe()
	requests, answers := io.Pipe()
	done := make(chan int, 1)
	go func() {
		exit, _ := c.Run(t.Context(), []string{"sh", "-c", "while read x; do echo \"<$x>\"; done | cat"},
			Streams{Stdin: requests, Stdout: in})
		_ = in.Close()
		done <- exit
	}()
	buffer := make([]byte, 100)
	for _, line := range []string{"a", "b"} {
		if _, err := io.WriteString(answers, line+"\n"); err != nil {
			t.Fatal(err)
		}
		want := "<" + line + ">\n"
		if n, err := io.ReadAtLeast(out, buffer, len(want)); err != nil || string(buffer[:n]) != want {
			t.Fatalf("%q, %v", buffer[:n], err)
		}
	}
	_ = answers.Close()
	if exit := <-done; exit != 0 {
		t.Errorf("exit code %d", exit)
	}
	for _, script := range []string{"yes", "while :; do echo a; done", "cat /dev/zero", "yes | cat",
		"{ yes; } & wait; echo a"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		out, in := io.Pipe()
		_ = out.Close()
		if _, err := c.Run(ctx, []string{"sh", "-c", script}, Streams{Stdout: in}); err != nil {
			t.Errorf("%s: %v", script, err)
		}
		cancel()
	}
}

// TestWritesAreShort checks that a command writes to its client in pieces that fit into a frame of SPDY.
func TestWritesAreShort(t *testing.T) {
	c := newContainer(t)
	for _, tty := range []bool{false, true} {
		longest, sum := 0, 0
		out := writerFunc(func(text string) { longest, sum = max(longest, len(text)), sum+len(text) })
		exit, err := c.Run(t.Context(), []string{"sh", "-c", "head -c 20000000 /dev/zero > /tmp/x; tar cf - /tmp/x; " +
			"tail -c 9000000 /tmp/x"},
			Streams{Stdout: out, TTY: tty})
		if exit != 0 || err != nil || sum < 29000000 || longest > 64<<10 {
			t.Errorf("exit code %d, error %v, %d bytes, longest write %d", exit, err, sum, longest)
		}
	}
}

// TestTail compares tail with a simple implementation, for inputs of several pieces.
func TestTail(t *testing.T) {
	c := newContainer(t)
	for _, lines := range []int{0, 1, 3, 20_000} {
		for _, end := range []string{"", "\n"} {
			text := strings.TrimSuffix(strings.Repeat("some line\n", lines), "\n") + end
			all := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
			for _, number := range []int{0, 1, 2, 3, 5000, 19_999, 20_000, 1_000_000} {
				kept := strings.Join(all[max(0, len(all)-number):], "")
				if number > 0 {
					kept += text[len(strings.TrimSuffix(text, "\n")):]
				}
				if got := run(t, c, text, "tail", "-n", strconv.Itoa(number)).stdout; got != kept {
					t.Errorf("tail -n %d of %d lines and %q: %d bytes, want %d", number, lines, end, len(got),
						len(kept))
				}
				if got := run(t, c, text, "tail", "-c", strconv.Itoa(number)).stdout; got != text[max(0,
					len(text)-number):] {
					t.Errorf("tail -c %d of %d lines: %d bytes", number, lines, len(got))
				}
			}
		}
	}
}

// TestPipesAreClosed checks that a long-running shell keeps no pipes of the operating system open.
func TestPipesAreClosed(t *testing.T) {
	c := newContainer(t)
	script := "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); read x < /etc/motd; read y <<< a; cat <<END | cat > " +
		"/dev/null\nx\nEND\ndone; echo $i $x $y"
	if got := sh(t, c, script); got.stdout != "3000 hello a\n" || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}

func ExampleExecutor() {
	c, err := Executor{}.NewEnvironment(Config{Hostname: "web-0", Env: []string{"COLOUR=blue"},
		Command: []string{"nginx"}, Files: map[string]string{"/etc/motd": "hello\n"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var out bytes.Buffer
	for _, argv := range [][]string{{"cat", "/etc/motd"}, {"sh", "-c", "echo $COLOUR | tr a-z A-Z; hostname > " +
		"/tmp/name; exit 3"}, {"cat", "/tmp/name"}, {"false"}} {
		exit, err := c.Run(context.Background(), argv, Streams{Stdout: &out, Stderr: &out})
		fmt.Printf("%q %d %v\n", out.String(), exit, err)
		out.Reset()
	}
	// Output:
	// "hello\n" 0 <nil>
	// "BLUE\n" 3 <nil>
	// "web-0\n" 0 <nil>
	// "" 1 <nil>
}
