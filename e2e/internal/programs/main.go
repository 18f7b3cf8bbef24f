package programs

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Scratch is a folder for files that several tests of a package share. Main removes it after the last test.
var Scratch string

// Main runs the tests of one package of this module and returns the exit code of the test binary. Before it builds
// or starts anything, it checks that the tools which the package needs are installed. The name of the package, such
// as "cluster", selects the tools from a table; see Missing. With -short, Main prints the names of the tests that
// were left out.
func Main(m *testing.M, pkg string) int {
	flag.Parse()
	if missing := Missing(pkg); missing != nil {
		fmt.Fprintln(os.Stderr, "e2e:", missing)
		return 1
	}
	dir, err := os.MkdirTemp("", "fauxlet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	Scratch = dir
	defer os.RemoveAll(dir)
	defer func() {
		if err := stopShared(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
	}()
	setParallel(pkg)
	code := m.Run()
	if len(slow.names) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: -short left out of package %s: %s\n", pkg, strings.Join(slow.names, ", "))
	}
	return code
}

// parallel is how many tests of a package run at the same time, unless the flag -parallel is given. Most tests spend
// their time waiting for a control plane or a node, so the number does not depend on the number of processors.
// Package same is different: each of its comparisons keeps a processor busy.
var parallel = map[string]int{"same": 4, "cluster": 32, "node": 32, "tools": 8, "browser": 2, "soak": 1}

func setParallel(pkg string) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel[pkg]))
	}
}

// The list "slow" has the names of the tests that were left out because of -short.
var slow struct {
	sync.Mutex
	names []string
}

// Slow skips the test in a run with -short. At the end of the run, Main lists the skipped tests.
func Slow(t testing.TB) {
	t.Helper()
	if !testing.Short() {
		return
	}
	slow.Lock()
	slow.names = append(slow.names, t.Name())
	slow.Unlock()
	t.Skip("left out by -short")
}

// shared has the processes that run until the last test has ended.
var shared struct {
	sync.Mutex
	first []*Process
	last  []*Process
}

// StopAtExit registers a process that several tests use. Main stops it after the last test.
func StopAtExit(p *Process) {
	shared.Lock()
	defer shared.Unlock()
	shared.first = append(shared.first, p)
}

// StopLast registers a process that Main stops after all processes registered with StopAtExit. Tests register etcd
// here, because kube-apiserver does not end properly without etcd.
func StopLast(p *Process) {
	shared.Lock()
	defer shared.Unlock()
	shared.last = append(shared.last, p)
}

// stopShared stops the registered processes.
func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	return errors.Join(stopAll(shared.first), stopAll(shared.last))
}

// stopAll stops several processes at the same time.
func stopAll(processes []*Process) error {
	failed := make([]error, len(processes))
	var group sync.WaitGroup
	for i, p := range processes {
		group.Go(func() { failed[i] = p.Stop() })
	}
	group.Wait()
	return errors.Join(failed...)
}

// Progress prints what a test waits for.
func Progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "e2e: "+format+"\n", args...)
}

// NumberFromEnvironment returns the number in an environment variable. If the variable is empty, it returns the given
// default.
func NumberFromEnvironment(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: want a number", name, text)
	}
	return value
}
