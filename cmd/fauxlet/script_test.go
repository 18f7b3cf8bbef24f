package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"fauxlet/internal/freeport"
	"fauxlet/internal/host"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fauxlet": main, "kubectl-fauxlet": main})
}

// TestScripts runs the scripts in testdata. A script checks what its commands print and which files they leave. To
// start servers, and commands that read standard input, a script uses the script command "exec". It runs fauxlet as a
// new process of the test binary, so go test -race detects data races there too. All other commands of fauxlet run in
// this process, with the script command "run" or "code".
func TestScripts(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd() // all paths are absolute, because the commands in this process change its working directory
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join(here, "testdata"),
		Setup: func(e *testscript.Env) error {
			// The scripts must not read files or settings of the machine that runs the tests.
			e.Setenv("HOME", e.WorkDir)
			// By default, a program with the race detector waits one second before it exits, to find data races in its
			// remaining goroutines. GORACE turns this off here. A script that tests the end of a server unsets GORACE.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			e.Setenv("DOCS", filepath.Join(here, "../../docs"))
			e.Setenv("REPOSITORY", filepath.Join(here, "../.."))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"run":        inProcess,
			"waitfor":    waitFor,
			"occupy":     occupy,
			"address":    address,
			"free":       free,
			"hold":       hold,
			"secure":     secure,
			"code":       code,
			"mode":       mode,
			"pasted":     pasted,
			"page":       page,
			"examples":   examples,
			"admin-page": adminPage,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// inProcess implements the script command "run": it runs a command line of fauxlet in this process.
func inProcess(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || args[0] != "fauxlet" {
		ts.Fatalf("usage: run fauxlet ARGUMENT...")
	}
	if got := exitCode(ts, args[1:]); (got != 0) != neg {
		ts.Fatalf("fauxlet ended with exit code %d", got)
	}
}

// The mutex "running" is locked while a command runs in this process. Each command needs its own working directory, but
// a process has only one working directory.
var running sync.Mutex

// exitCode runs a command line of fauxlet in this process and returns its exit code.
func exitCode(ts *testscript.TestScript, args []string) int {
	running.Lock()
	defer running.Unlock()
	ts.Check(os.Chdir(ts.MkAbs(".")))
	ts.Check(os.Setenv("HOME", ts.Getenv("HOME"))) // clients look for the token of an admin listener there
	ts.Check(os.Unsetenv("XDG_CACHE_HOME"))
	// stderr is a file, so that goroutines that are still running can log while this function reads the output.
	stderr, err := os.CreateTemp("", "")
	ts.Check(err)
	defer os.Remove(stderr.Name())
	defer stderr.Close()
	root := newRoot()
	root.SetOut(ts.Stdout())
	root.SetErr(stderr)
	got := run(context.Background(), root, args)
	text, err := os.ReadFile(stderr.Name())
	ts.Check(err)
	_, _ = ts.Stderr().Write(text)
	return got
}

// waitFor waits until a file contains a text.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE TEXT")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(60 * time.Second)
	for {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(data), args[1]) {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ts.Fatalf("interrupted")
		case <-deadline:
			ts.Fatalf("%q never appeared in %s: %v\n%s", args[1], args[0], err, data)
		}
	}
}

// The script command "occupy" listens on a port until the script ends. Its argument is the name of the variable that it
// sets to the port.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy VARIABLE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv(args[0], fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
}

// The script command "address" sets a variable to the address of the admin listener, and the variable SECURE to the
// address of the secure port. It reads both from the file written for --ready-file. It replaces the host of the admin
// listener by the loopback address, because the listener may listen on all addresses.
func address(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: address FILE VARIABLE")
	}
	var open host.Addresses
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &open))
	ts.Setenv("SECURE", open.Secure)
	_, port, err := net.SplitHostPort(open.Admin)
	if open.Admin != "" {
		ts.Check(err)
	}
	ts.Setenv(args[1], net.JoinHostPort("127.0.0.1", port))
}

// The script command "free" finds a free port. Its argument is the name of the variable that it sets to the port.
func free(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: free VARIABLE")
	}
	port, err := freeport.Next()
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprint(port))
}

// The script command "hold" listens on a free port until the script ends. It accepts connections but never sends
// anything. Its first argument is the name of the variable that it sets to the port. Its second argument is the name of
// a file that it writes when it has accepted the second connection.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hold VARIABLE FILE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv(args[0], fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
	file := ts.MkAbs(args[1])
	go func() {
		var held []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			if held = append(held, conn); len(held) == 2 {
				_ = os.WriteFile(file, []byte("held\n"), 0o644)
			}
		}
		for _, conn := range held {
			conn.Close()
		}
	}()
}

// The script command "secure" sets a variable to the address of the kubelet's secure port. It reads the address from
// the file written for --ready-file.
func secure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: secure FILE VARIABLE")
	}
	var open host.Addresses
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &open))
	ts.Setenv(args[1], open.Secure)
}

// The script command "code" runs another command. It fails if the exit code of that command is not the number in the
// first argument.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code NUMBER COMMAND...")
	}
	got := 0
	if args[1] == "fauxlet" {
		got = exitCode(ts, args[2:])
	} else {
		err := ts.Exec(args[1], args[2:]...)
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else {
			ts.Check(err)
		}
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", args[1], got, args[0])
	}
}

// The script command "mode" fails if a file does not have the permissions in the first argument.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode 0600 FILE...")
	}
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// The script command "pasted" reads the output of a demo, and runs each curl command that it contains in a shell. It
// compares the HTTP status with the status that is printed above the command.
func pasted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: pasted FILE COUNT")
	}
	promised, lines := "", 0
	for _, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		if rest, ok := strings.CutPrefix(line, "# -> "); ok {
			promised, _, _ = strings.Cut(rest, ",")
			continue
		}
		if !strings.HasPrefix(line, "curl ") {
			continue
		}
		lines++
		ts.Check(ts.Exec("sh", "-c", line+" --silent --output body --write-out '%{http_code}'"))
		if got := ts.ReadFile("stdout"); got != promised {
			ts.Fatalf("%s: status %s, but the demo printed %s", line, got, promised)
		}
	}
	if fmt.Sprint(lines) != args[1] {
		ts.Fatalf("the demo printed %d curl commands, want %s", lines, args[1])
	}
}

// The script command "page" takes a page of docs/, and runs the commands in its sh blocks against a running demo. It
// reads the demo's ports from the demo's output, and puts them into the commands in place of the default ports. A
// comment after a command ("# exit code 1") is the exit code that the command must have; without such a comment, it
// must be 0. If a block of output follows the command, the command must print all lines of that block.
func page(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: page NAME DEMO-OUTPUT COUNT")
	}
	text, err := os.ReadFile(filepath.Join(ts.Getenv("DOCS"), args[0]))
	ts.Check(err)
	printed := ts.ReadFile(args[1])
	secure := regexp.MustCompile(`https://(127\.0\.0\.1:\d+)`).FindStringSubmatch(printed)
	readOnly := regexp.MustCompile(`http://127\.0\.0\.1:(\d+)`).FindStringSubmatch(printed)
	if secure == nil || readOnly == nil {
		ts.Fatalf("%s does not contain the demo's ports", args[1])
	}
	ports := strings.NewReplacer("127.0.0.1:10250", secure[1]+" --read-only-port "+readOnly[1])
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```(?:\n\n```\n(.*?)```)?").FindAllStringSubmatch(string(text), -1)
	if fmt.Sprint(len(blocks)) != args[2] {
		ts.Fatalf("%d blocks of commands in %s, want %s", len(blocks), args[0], args[2])
	}
	spaced := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, block := range blocks {
		command := ports.Replace(block[1])
		want := "0"
		if _, promised, found := strings.Cut(command, "# exit code "); found {
			want = promised[:1]
		}
		code(ts, false, []string{want, "sh", "-c", command})
		got := spaced(ts.ReadFile("stdout"))
		for shown := range strings.Lines(strings.ReplaceAll(block[2], ":10255", ":"+readOnly[1])) {
			if !strings.Contains(got, spaced(shown)) {
				ts.Fatalf("%s: the output of %s does not contain the line\n%s", args[0], command, shown)
			}
		}
	}
}

// The script command "examples" writes a shell script for each example in the help texts. For example, fault-add-1.sh
// contains the first example of fauxlet fault add. When a shell script runs, it first adds its own name to the file
// "ran". Then it runs the example, followed by the arguments of the shell script. The file "all" lists the names of all
// examples.
func examples(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: examples")
	}
	var all strings.Builder
	var add func(c *cobra.Command)
	add = func(c *cobra.Command) {
		number := 0
		for line := range strings.Lines(strings.ReplaceAll(c.Example, "\\\n", "")) {
			line = strings.TrimSpace(line)
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			number++
			path := strings.TrimPrefix(c.CommandPath(), "fauxlet ")
			name := fmt.Sprintf("%s-%d", strings.ReplaceAll(path, " ", "-"), number)
			if strings.HasPrefix(line, "fauxlet ") {
				line = "exec " + line // signals reach fauxlet
			}
			fmt.Fprintln(&all, name)
			text := fmt.Sprintf("echo %s >>ran\n%s \"$@\"\n", name, line)
			ts.Check(os.WriteFile(ts.MkAbs(name+".sh"), []byte(text), 0o644))
		}
		for _, sub := range c.Commands() {
			add(sub)
		}
	}
	add(newRoot())
	ts.Check(os.WriteFile(ts.MkAbs("all"), []byte(all.String()), 0o644))
}
