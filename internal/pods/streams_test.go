package pods_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilexec "k8s.io/utils/exec"

	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// TestAnswers checks that Exec returns the first answer whose command is empty or equal to the requested command.
func TestAnswers(t *testing.T) {
	store := newStore(t, scenario.Pod{Pod: newPod("default", "p", "c"),
		Containers: map[string]scenario.Container{"c": {Exec: []scenario.ExecAnswer{
			{Command: []string{"cat", "a"}, Stdout: "one\ntwo\n"},
			{Command: []string{"cat"}, Stderr: "which?\n", ExitCode: 2},
			{Command: nil, Stdout: "anything\n"},
		}}}})
	for _, test := range []struct {
		command        string
		tty            bool
		stdout, stderr string
		code           int
	}{
		{command: "cat a", stdout: "one\ntwo\n"},
		{command: "cat a", tty: true, stdout: "one\r\ntwo\r\n"},
		{command: "cat", stderr: "which?\n", code: 2},
		{command: "cat", tty: true, stdout: "which?\r\n", code: 2},
		{command: "dog a", stdout: "anything\n"},
	} {
		var stdout, stderr bytes.Buffer
		err := store.Exec(t.Context(), "default", "p", "c", strings.Fields(test.command),
			pods.Streams{Stdout: &stdout, Stderr: &stderr, TTY: test.tty})
		var exit utilexec.ExitError
		if code := 0; errors.As(err, &exit) {
			if code = exit.ExitStatus(); code != test.code {
				t.Errorf("%s: exit code %d, want %d", test.command, code, test.code)
			}
		} else if err != nil || test.code != 0 {
			t.Errorf("%s: error %v", test.command, err)
		}
		if stdout.String() != test.stdout || stderr.String() != test.stderr {
			t.Errorf("%s: stdout %q and stderr %q, want %q and %q", test.command, &stdout, &stderr, test.stdout,
				test.stderr)
		}
	}
	if err := store.Exec(t.Context(), "default", "p", "other", nil, pods.Streams{}); err == nil ||
		err.Error() != `container not found ("other")` {
		t.Error(err)
	}
}

// TestAnswerDelay checks that an answer is delayed as described, and that the delay ends when the client
// disconnects.
func TestAnswerDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, scenario.Pod{Pod: newPod("default", "p", "c"),
			Containers: map[string]scenario.Container{"c": {
				Exec: []scenario.ExecAnswer{{Stdout: "late", Delay: metav1.Duration{Duration: time.Minute}}}}}})
		began := time.Now()
		var stdout bytes.Buffer
		if err := store.Exec(t.Context(), "default", "p", "c", []string{"x"},
			pods.Streams{Stdout: &stdout}); err != nil || stdout.String() != "late" ||
			time.Since(began) != time.Minute {
			t.Errorf("stdout %q after %v, error %v", &stdout, time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := store.Exec(ctx, "default", "p", "c", []string{"x"}, pods.Streams{}); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestExecWritesNothingAfterEnd checks that a command that is still waiting for input when Exec returns writes no
// output afterwards.
func TestExecWritesNothingAfterEnd(t *testing.T) {
	for _, executor := range []pods.Executor{nil, shell.Executor{}} {
		synctest.Test(t, func(t *testing.T) {
			store, err := pods.NewStoreWith(executor, scenario.Pod{Pod: newPod("default", "p", "c")})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			stdin, typed := io.Pipe()
			var stdout bytes.Buffer
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = store.Exec(ctx, "default", "p", "c", []string{"cat"}, pods.Streams{Stdin: stdin, Stdout: &stdout})
			}()
			synctest.Wait() // cat reads
			cancel()
			<-ended
			_, _ = io.WriteString(typed, "late")
			typed.Close()
			synctest.Wait()
			if stdout.Len() > 0 {
				t.Errorf("stdout %q, want no output", &stdout)
			}
		})
	}
}

// TestAttach checks that an attached client gets new log lines and an echo of its input, and that a terminal gets
// carriage returns.
func TestAttach(t *testing.T) {
	for _, tty := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			start := metav1.NewTime(time.Now().Add(500 * time.Millisecond))
			store := newStore(t, scenario.Pod{Pod: newPod("default", "p", "c"),
				Containers: map[string]scenario.Container{"c": {Log: scenario.Log{Text: "one\ntwo\n", Start: &start}}}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var stdout bytes.Buffer
			stdin, typed := io.Pipe()
			go func() {
				time.Sleep(time.Second)
				io.WriteString(typed, "hello\r")
				typed.Close()
			}()
			if err := store.Attach(ctx, "default", "p", "c",
				pods.Streams{Stdin: stdin, Stdout: &stdout, TTY: tty}); err != nil {
				t.Error(err)
			}
			want := "one\nhello\rtwo\n"
			if tty {
				want = "one\r\nhello\r\ntwo\r\n"
			}
			if stdout.String() != want {
				t.Errorf("stdout %q, want %q", &stdout, want)
			}
		})
	}
}

// TestAttachWritesNothingAfterEnd checks that input that comes after Attach has returned is not echoed.
func TestAttachWritesNothingAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, scenario.Pod{Pod: newPod("default", "p", "c")})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		stdin, typed := io.Pipe()
		var stdout bytes.Buffer
		_ = store.Attach(ctx, "default", "p", "c", pods.Streams{Stdin: stdin, Stdout: &stdout})
		_, _ = io.WriteString(typed, "late")
		typed.Close()
		synctest.Wait()
		if stdout.Len() > 0 {
			t.Errorf("stdout %q, want no output", &stdout)
		}
	})
}

// TestAttachOnce checks that attach to a container with stdinOnce returns at the end of the input.
func TestAttachOnce(t *testing.T) {
	pod := newPod("default", "p", "c")
	pod.Spec.Containers[0].StdinOnce = true
	store := newStore(t, scenario.Pod{Pod: pod})
	var stdout bytes.Buffer
	if err := store.Attach(t.Context(), "default", "p", "c",
		pods.Streams{Stdin: strings.NewReader("all\n"), Stdout: &stdout}); err != nil ||
		!strings.Contains(stdout.String(), "all\n") {
		t.Errorf("stdout %q, error %v", &stdout, err)
	}
}

// interactive returns a Store with the pod default/p and its container c, which has stdin and the fake shell. The
// returned channel receives the pod's key when the command of the container has ended.
func interactive(t *testing.T, container v1.Container) (*pods.Store, chan types.NamespacedName) {
	t.Helper()
	pod := newPod("default", "p", "c")
	container.Name, container.Stdin = "c", true
	pod.Spec.Containers[0] = container
	store, err := pods.NewStoreWith(shell.Executor{}, scenario.Pod{Pod: pod})
	if err != nil {
		t.Fatal(err)
	}
	exited := make(chan types.NamespacedName, 1)
	store.OnExit(func(key types.NamespacedName) { exited <- key })
	return store, exited
}

// TestAttachToProcess checks that attaching to a container with stdin connects the client to the container's command
// or, if the container has no command, to a shell. The command's exit code becomes the exit code of the container.
func TestAttachToProcess(t *testing.T) {
	for _, test := range []struct {
		name      string
		container v1.Container
		stdin     string
		stdout    string
		code      int32
	}{
		{name: "command", container: v1.Container{Args: []string{"cat"}, StdinOnce: true}, stdin: "x\n", stdout: "x\n"},
		{name: "shell", container: v1.Container{StdinOnce: true}, stdin: "echo $((40+2))\nexit 3\n", stdout: "42\n",
			code: 3},
		{name: "end of a script", container: v1.Container{StdinOnce: true}, stdin: "hostname\nfalse\n", stdout: "p\n",
			code: 1},
		{name: "exit without stdinOnce", stdin: "exit 4\nmore", code: 4},
		{name: "terminal", container: v1.Container{TTY: true, StdinOnce: true}, stdin: "exit 5\r",
			stdout: "/ # exit 5\r\n", code: 5},
		{name: "unknown command", container: v1.Container{Command: []string{"psql"}, StdinOnce: true}, stdin: "x\n",
			stdout: "x\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, exited := interactive(t, test.container)
				stdin, typed := io.Pipe()
				go func() {
					synctest.Wait() // the terminal shows a prompt
					io.WriteString(typed, test.stdin)
					if test.container.StdinOnce && !test.container.TTY {
						typed.Close()
					}
				}()
				var stdout bytes.Buffer
				if err := store.Attach(t.Context(), "default", "p", "c", pods.Streams{Stdin: stdin, Stdout: &stdout,
					TTY: test.container.TTY}); err != nil {
					t.Fatal(err)
				}
				stdin.Close()
				if key := <-exited; key.String() != "default/p" {
					t.Errorf("the pod %s exited", key)
				}
				exits := store.Exits("default", "p")
				if code, found := exits[""]; stdout.String() != test.stdout || !found || code != test.code {
					t.Errorf("stdout %q, exits %v; want %q and code %d", &stdout, exits, test.stdout, test.code)
				}
			})
		})
	}
}

// TestLogOfInteractiveContainer checks that a container with stdin has no made-up log, which kubectl run would print.
func TestLogOfInteractiveContainer(t *testing.T) {
	store, _ := interactive(t, v1.Container{})
	var log bytes.Buffer
	if err := store.Logs(t.Context(), "default", "p", "c", &v1.PodLogOptions{}, &log, &log); err != nil ||
		log.Len() > 0 {
		t.Errorf("log %.100q, %v; want an empty log", &log, err)
	}
}

// TestAttachLeavesProcess checks that the container continues to run if the client ends its input, unless the container
// has stdinOnce and no terminal. (containerd: internal/cri/io, ContainerIO.Attach)
func TestAttachLeavesProcess(t *testing.T) {
	for _, container := range []v1.Container{{Args: []string{"cat"}},
		{Args: []string{"cat"}, TTY: true, StdinOnce: true}} {
		synctest.Test(t, func(t *testing.T) {
			store, _ := interactive(t, container)
			if err := store.Attach(t.Context(), "default", "p", "c", pods.Streams{Stdin: strings.NewReader("x"),
				Stdout: io.Discard, TTY: container.TTY}); err != nil {
				t.Error(err)
			}
			if exits := store.Exits("default", "p"); len(exits) > 0 {
				t.Errorf("exits %v, want none", exits)
			}
		})
	}
}

// TestAttachReportsRuntimeError checks that attach fails if the container runtime cannot start the command, for example
// because too many commands run, and that the container continues to run.
func TestAttachReportsRuntimeError(t *testing.T) {
	for _, test := range []struct {
		command, text string
		others        int // commands that run already
	}{
		{command: "/etc", text: "is a directory"},
		{command: "cat", text: "resource temporarily unavailable", others: 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			store, _ := interactive(t, v1.Container{Command: []string{test.command}, StdinOnce: true})
			stdin, typed := io.Pipe()
			defer typed.Close()
			for range test.others {
				go store.Exec(t.Context(), "default", "p", "c", []string{"cat"}, pods.Streams{Stdin: stdin})
			}
			synctest.Wait()
			var stdout, stderr bytes.Buffer
			err := store.Attach(t.Context(), "default", "p", "c",
				pods.Streams{Stdin: strings.NewReader("x\n"), Stdout: &stdout, Stderr: &stderr})
			if exit, ok := errors.AsType[utilexec.ExitError](err); !ok || exit.ExitStatus() != 126 ||
				!strings.Contains(stderr.String(), test.text) || stdout.Len() > 0 {
				t.Errorf("%s: stdout %q, stderr %q, error %v", test.command, &stdout, &stderr, err)
			}
			if exits := store.Exits("default", "p"); len(exits) > 0 {
				t.Errorf("%s: exits %v, want none", test.command, exits)
			}
		})
	}
}

// TestFirstExitCodeCounts checks that the exit code of a container does not change after its first command has ended,
// even if a second client attaches and starts another command. The container ends when its first command ends.
func TestFirstExitCodeCounts(t *testing.T) {
	store, _ := interactive(t, v1.Container{StdinOnce: true})
	store.OnExit(nil)
	for _, stdin := range []string{"exit 3", "exit 4"} {
		if err := store.Attach(t.Context(), "default", "p", "c",
			pods.Streams{Stdin: strings.NewReader(stdin)}); err != nil {
			t.Fatal(err)
		}
	}
	if exits := store.Exits("default", "p"); exits[""] != 3 {
		t.Errorf("exits %v, want code 3", exits)
	}
}

// duplex returns the two ends of a stream.
func duplex() (client, stream net.Conn) { return net.Pipe() }

// TestPorts checks which ports of a pod accept connections.
func TestPorts(t *testing.T) {
	declared := newPod("default", "declared", "c")
	declared.Spec.Containers[0].Ports = []v1.ContainerPort{{ContainerPort: 80},
		{ContainerPort: 53, Protocol: v1.ProtocolUDP}}
	store := newStore(t,
		scenario.Pod{Pod: newPod("default", "any", "c")},
		scenario.Pod{Pod: declared,
			Containers: map[string]scenario.Container{"c": {Ports: []scenario.Port{{Port: 81}}}}},
	)
	for _, test := range []struct {
		pod     string
		port    int32
		listens bool
	}{
		{pod: "any", port: 1, listens: true},
		{pod: "declared", port: 80, listens: true},
		{pod: "declared", port: 81, listens: true},
		{pod: "declared", port: 53},
		{pod: "declared", port: 82},
	} {
		client, stream := duplex()
		ended := make(chan error)
		go func() {
			err := store.PortForward(t.Context(), "default", test.pod, test.port, stream)
			stream.Close()
			ended <- err
		}()
		go io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
		answer, _ := io.ReadAll(client)
		err := <-ended
		if listens := strings.HasPrefix(string(answer), "HTTP/1.0 200 OK\r\n"); listens != test.listens {
			t.Errorf("%s:%d: answer %q, error %v", test.pod, test.port, answer, err)
		}
		if !test.listens && (err == nil || !strings.Contains(err.Error(), "connect: connection refused")) {
			t.Errorf("%s:%d: error %v", test.pod, test.port, err)
		}
	}
	if err := store.PortForward(t.Context(), "default", "none", 80, nil); err == nil ||
		err.Error() != `pod not found ("none_default")` {
		t.Error(err)
	}
}

// TestPortWithoutValidRequest checks that a connection to a port ends if the client sends no valid request, and that
// requests are limited in size and time.
func TestPortWithoutValidRequest(t *testing.T) {
	const lingers = 500 * time.Millisecond // net/http closes the connection so long after a response with status 431
	for _, test := range []struct {
		name   string
		sent   string
		ends   time.Duration // how long the connection lasts
		answer string        // the beginning of the answer
	}{
		{name: "nothing", ends: time.Minute},
		{name: "half a request", sent: "GET / HTTP/1.1\r\n", ends: time.Minute},
		{name: "half a body", sent: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", ends: time.Minute,
			answer: "HTTP/1.1 400 Bad Request\r\n"},
		{name: "no body after Expect", ends: time.Minute, answer: "HTTP/1.1 100 Continue\r\n",
			sent: "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"},
		{name: "no HTTP", sent: "PING\r\n", answer: "HTTP/1.1 400 Bad Request\r\n"},
		{name: "too long a line", sent: "GET /" + strings.Repeat("a", 2<<20), ends: lingers,
			answer: "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
		{name: "too long a header", sent: "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 1<<20), ends: lingers,
			answer: "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t, scenario.Pod{Pod: newPod("default", "p", "c")})
				client, stream := duplex()
				defer client.Close()
				go store.PortForward(t.Context(), "default", "p", 80, stream)
				go io.WriteString(client, test.sent)
				began := time.Now()
				answer, err := io.ReadAll(client)
				if lasted := time.Since(began); err != nil || lasted != test.ends ||
					!strings.HasPrefix(string(answer), test.answer) || test.answer == "" && len(answer) > 0 {
					t.Errorf("answer %q after %v, error %v; want %q after %v", answer, lasted, err, test.answer,
						test.ends)
				}
			})
		})
	}
}
