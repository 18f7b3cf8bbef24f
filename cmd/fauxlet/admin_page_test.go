package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"fauxlet/internal/host"
)

// The script command "admin-page" runs each command of docs/decisions.md in a shell. It replaces the default address of
// the admin listener by the address in $ADMIN, also in the name of the token file. Some of these commands never end:
// adminPage interrupts them once they have printed a line.
func adminPage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: admin-page FILE")
	}
	text, err := os.ReadFile(args[0])
	ts.Check(err)
	run := 0
	for i, block := range strings.Split(string(text), "```sh\n") {
		if i == 0 {
			continue
		}
		commands, _, _ := strings.Cut(block, "```")
		for command := range strings.Lines(commands) {
			inFile := strings.NewReplacer(":", "_").Replace
			command = strings.NewReplacer(host.DefaultAdminAddress, ts.Getenv("ADMIN"),
				inFile(host.DefaultAdminAddress), inFile(ts.Getenv("ADMIN"))).Replace(strings.TrimSpace(command))
			runOfTracePage(ts, command)
			run++
		}
	}
	if run < 10 {
		ts.Fatalf("%s has only %d commands, want at least 10", args[0], run)
	}
}

func runOfTracePage(ts *testscript.TestScript, line string) {
	if strings.HasPrefix(line, "fauxlet watch") || strings.HasPrefix(line, "fauxlet fault") {
		line += " --address " + ts.Getenv("ADMIN")
	}
	endless := strings.HasPrefix(line, "fauxlet watch") && !strings.Contains(line, "--follow=false") ||
		strings.Contains(line, " -N ")
	command := exec.Command("sh", "-c", "exec "+line)
	command.Dir, command.Stderr = ts.MkAbs("."), ts.Stderr()
	command.Env = []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME")}
	output, err := command.StdoutPipe()
	ts.Check(err)
	ts.Check(command.Start())
	printed := bufio.NewReader(output)
	if endless {
		if _, err := printed.ReadString('\n'); err != nil {
			ts.Fatalf("%s: printed nothing: %v", line, err)
		}
		ts.Check(command.Process.Signal(syscall.SIGINT))
	}
	all, err := io.ReadAll(printed)
	ts.Check(err)
	ts.Logf("%s\n%s", line, all)
	if err := command.Wait(); err != nil && !strings.Contains(line, " -N ") {
		ts.Fatalf("%s: %v", line, err)
	}
	if strings.Contains(string(all), `{"error":`) {
		ts.Fatalf("%s: %s", line, all)
	}
}
