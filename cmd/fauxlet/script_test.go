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
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"fauxlet/internal/host"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fauxlet": main})
}

// TestScripts runs the scripts in testdata, and checks what their commands print and which files they leave. Each
// script runs a server, so the program is the test binary itself. With go test -race it has the race detector.
func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, "testdata", nil)
}

// TestCommands runs the scripts in testdata/commands, which run no servers: each command prints its result and ends.
// These scripts use the program that make build makes, which starts three times as fast as a program with the race
// detector. The packages that the commands call are tested with the race detector elsewhere.
func TestCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", dir, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	runScripts(t, "testdata/commands", func(e *testscript.Env) {
		e.Setenv("PATH", dir+string(filepath.ListSeparator)+e.Getenv("PATH"))
	})
}

// runScripts runs the scripts of a folder. set, if it is not nil, changes the environment of each script.
func runScripts(t *testing.T, dir string, set func(*testscript.Env)) {
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			// The scripts must not read files or settings of the machine that runs the tests.
			e.Setenv("HOME", e.WorkDir)
			// When a program with the race detector ends, it waits a second for data races in other goroutines. A
			// command that has printed its result has no other goroutines, so there is no need to wait. The scripts
			// that stop servers unset the variable.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			docs, err := filepath.Abs("../../docs")
			e.Setenv("DOCS", docs)
			if set != nil {
				set(e)
			}
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
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
			"admin-page": adminPage,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
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

// occupy listens on a port for the rest of the script, and sets the variable named by its argument to the port.
func occupy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: occupy VARIABLE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv(args[0], fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
}

// address sets a variable to the address of the admin listener, and the variable SECURE to the address of the secure
// port. It reads both from a ready file. If the admin listener listens on all addresses, the variable has the
// loopback address.
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

// free sets a variable to the number of a free port.
func free(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: free VARIABLE")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
	ts.Check(listener.Close())
}

// hold accepts connections on a port for the rest of the script, and never sends anything. It sets the variable to
// the port, and writes the file when the second connection has been accepted.
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

// secure sets a variable to the address of the secure port that a --ready-file names.
func secure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: secure FILE VARIABLE")
	}
	var open host.Addresses
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &open))
	ts.Setenv(args[1], open.Secure)
}

// code runs a command and compares its exit code with the expected one.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code NUMBER COMMAND...")
	}
	err, got := ts.Exec(args[1], args[2:]...), 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", args[1], got, args[0])
	}
}

// mode compares the permissions of files with the expected ones.
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

// pasted runs each curl command that a demo has printed, in a shell. It compares the HTTP status with the status
// that is printed above the command.
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

// page runs the commands in the sh blocks of a page of docs/, against a demo whose output contains its ports: it
// replaces the kubelet's ports in the commands. It compares the exit code of each command with the one in the
// comment behind the command ("# exit code 1"), or with 0. If a block of output follows the command, the command
// must print all lines of that block.
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
