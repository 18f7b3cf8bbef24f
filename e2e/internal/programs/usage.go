package programs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
)

// Usage is the resource use of a process.
type Usage struct {
	CPU                 float64 // seconds
	Resident, Anonymous int64   // bytes
	Threads             int64
}

// UsageOf reads the resource use of a running process from /proc.
func UsageOf(t testing.TB, p *Process) Usage {
	t.Helper()
	var u Usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	expect.NoError(t, err)
	// The second field is the program name in parentheses, which may contain blanks. The fields after it begin with
	// field 3. Fields 14 and 15 are user and system time.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const ticks = 100 // ticks is the number of clock ticks per second (USER_HZ): 100 on every Linux that Go supports
	for _, field := range fields[11:13] {
		n, err := strconv.ParseFloat(field, 64)
		expect.NoError(t, err)
		u.CPU += n / ticks
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	expect.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			u.Resident = n * 1024
		case "RssAnon":
			u.Anonymous = n * 1024
		case "Threads":
			u.Threads = n
		}
	}
	return u
}
