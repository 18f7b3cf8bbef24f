package programs

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a program that runs beside the tests. It is killed if the test binary ends without stopping it.
type Process struct {
	name  string
	Cmd   *exec.Cmd
	Out   Buffer
	Ended chan struct{} // closed when the process has ended, after Err is set
	Err   error
}

// starter starts all processes from one thread that never ends. Linux kills a process with Pdeathsig when the thread
// that started it ends, even while the test binary still runs.
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

// Start starts a program. The caller must call Stop. The name appears in errors and logs.
func Start(name, path string, args ...string) (*Process, error) {
	p := &Process{name: name, Cmd: exec.Command(path, args...), Ended: make(chan struct{})}
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Out, &p.Out
	// In a process group of its own, the program does not get the SIGINT of a Ctrl-C. The test binary stops it.
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	starter() <- func() { started <- p.Cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.Err = p.Cmd.Wait()
		close(p.Ended)
	}()
	return p, nil
}

// Stop sends SIGTERM and waits. If the process has not ended after 30 s, Stop kills it and returns an error.
func (p *Process) Stop() error {
	select {
	case <-p.Ended:
		return nil
	default:
	}
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Ended:
		return nil
	case <-time.After(30 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.Ended
		return fmt.Errorf("%s did not end within 30 s of SIGTERM", p.name)
	}
}

// LogOnFailure logs the last lines of the process's output if the test has failed. It ignores the output before the
// given byte offset.
func (p *Process) LogOnFailure(t testing.TB, from int) {
	if !t.Failed() {
		return
	}
	lines := strings.Split(strings.TrimSpace(p.Out.String()[from:]), "\n")
	const most = 60
	if len(lines) > most {
		lines = append([]string{fmt.Sprintf("(%d lines before these)", len(lines)-most)}, lines[len(lines)-most:]...)
	}
	t.Logf("output of %s:\n%s", p.name, strings.Join(lines, "\n"))
}

// Buffer holds the output of a running process. It is safe for concurrent use.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Buffer) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *Buffer) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
