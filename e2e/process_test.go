package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that runs beside the tests.
type process struct {
	name  string
	cmd   *exec.Cmd
	out   output
	ended chan struct{} // closed when it has ended; err is set then
	err   error
}

// starter starts processes from a thread that never ends: a process with Pdeathsig is killed with the thread that
// started it, not only with the whole program.
var starter = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// start runs a program. The caller stops it.
func start(name, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	starter() <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends it as an init system would, and says if it did not end by itself.
func (p *process) stop() error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not end within 30 s of SIGTERM", p.name)
	}
}

// tell shows, when the test has failed, what the process has said since from.
func (p *process) tell(t testing.TB, from int) {
	if !t.Failed() {
		return
	}
	lines := strings.Split(strings.TrimSpace(p.out.String()[from:]), "\n")
	const most = 60
	if len(lines) > most {
		lines = append([]string{fmt.Sprintf("(%d lines before these)", len(lines)-most)}, lines[len(lines)-most:]...)
	}
	t.Logf("%s said:\n%s", p.name, strings.Join(lines, "\n"))
}

// output is what a process has said so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// eventually asks again and again, and fails the test with the last answer's words if they never become empty.
func eventually(t testing.TB, patience time.Duration, what string, problem func() string) {
	t.Helper()
	if last := within(patience, problem); last != "" {
		t.Fatalf("%s: not within %v: %s", what, patience, last)
	}
}

// within asks until there is no problem, or gives the last one.
func within(patience time.Duration, problem func() string) string {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		last := problem()
		if last == "" {
			return ""
		}
		select {
		case <-deadline.C:
			return last
		case <-tick.C:
		}
	}
}

// freePort is a port of loopback that nothing listens on.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
