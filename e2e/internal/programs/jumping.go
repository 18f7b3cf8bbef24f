package programs

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// JumpingClock names a build of fauxlet whose wall clock jumps. On SIGUSR1 it reads the file "clock" in its working
// folder and adds that many seconds to the wall clock. The monotonic clock and all timers are not affected, as when
// an operator sets the clock of a Linux machine.
const JumpingClock = "fauxlet-jumping"

// jumpNow replaces the first line of time.Now in the Go sources. jumpOnSignal is a file that is added to package main
// of fauxlet.
const (
	jumpNow      = "\tsec, nsec, mono := runtimeNow()\n\tsec += Jumped\n"
	jumpOnSignal = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func init() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			text, _ := os.ReadFile("clock")
			fmt.Sscan(string(text), &time.Jumped)
			os.Remove("clock")
		}
	}()
}
`
)

// buildJumpingClock builds fauxlet with a changed copy of Go's package time. It does not change the Go installation.
func buildJumpingClock(name string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src/time/time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	before, now, found := strings.Cut(string(text), "\nfunc Now() Time {\n")
	now, jumps := strings.CutPrefix(now, "\tsec, nsec, mono := runtimeNow()\n")
	if !found || !jumps {
		return "", fmt.Errorf("%s: time.Now does not begin as expected; adapt jumpNow", source)
	}
	main := filepath.Join(Repository(), "cmd/fauxlet/jump_on_signal.go") // only the build overlay contains this file
	changed := map[string]string{
		source: before + "\nvar Jumped int64\n\nfunc Now() Time {\n" + jumpNow + now,
		main:   jumpOnSignal,
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, content := range changed {
		file := filepath.Join(Scratch, filepath.Base(path))
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return "", err
		}
		overlay.Replace[path] = file
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(Scratch, "overlay.json")
	if err := os.WriteFile(file, list, 0o644); err != nil {
		return "", err
	}
	path := filepath.Join(Scratch, name)
	return path, goBuild(Repository(), path, Modules["fauxlet"], "-overlay="+file)
}
