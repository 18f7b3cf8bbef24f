package shell

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fauxlet/internal/pods"
)

// TestShareOfCPU checks that many busy scripts of one container together use their share of the CPU time, not more.
func TestShareOfCPU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const length = 10 * time.Second
		c := newContainer(t)
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		var scripts sync.WaitGroup
		var sessions []*session
		for range 40 {
			s := newSession(ctx, c, Streams{})
			sessions = append(sessions, s)
			scripts.Go(func() {
				for ctx.Err() == nil {
					s.spend(ctx, cpuSlice)
				}
			})
		}
		scripts.Wait()
		var used time.Duration
		for _, s := range sessions {
			used += time.Duration(s.cpu.Load())
			s.end()
		}
		share := time.Duration(min(1, float64(runtime.GOMAXPROCS(0))/2) * float64(length))
		if used < share/2 || used > share+2*cpuBurst+40*cpuSlice {
			t.Errorf("used %v of %v", used, share)
		}
	})
}

// TestBusyContainers checks that commands of a container wait only a short time while other containers are busy, and
// also right after the commands of the busy containers have ended.
func TestBusyContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const busy, most = 5, 500 * time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var scripts sync.WaitGroup
		for range busy {
			c := newContainer(t)
			for range 200 {
				scripts.Go(func() {
					s := newSession(ctx, c, Streams{})
					defer s.end()
					for ctx.Err() == nil {
						s.spend(ctx, mostCounted)
					}
				})
			}
		}
		s := newSession(t.Context(), newContainer(t), Streams{})
		defer s.end()
		for _, when := range []string{"while they run", "after they have ended"} {
			time.Sleep(10 * time.Second)
			begin := time.Now()
			s.spend(s.ctx, cpuSlice)
			if waited := time.Since(begin); waited > most {
				t.Errorf("%s, another container waits for %v", when, waited)
			}
			cancel()
			scripts.Wait()
		}
	})
}

// TestEndedCommandUsesNoCPU checks that a command whose context has ended reserves no CPU time.
func TestEndedCommandUsesNoCPU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContainer(t)
		s := newSession(t.Context(), c, Streams{})
		defer s.end()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 30 {
			s.spend(ended, mostCounted)
		}
		begin := time.Now()
		s.spend(s.ctx, cpuSlice)
		if waited := time.Since(begin); waited > cpuBurst {
			t.Errorf("the next command waits for %v", waited)
		}
	})
}

// TestSleepIsNoCPUTime checks that a shell that waits uses no CPU time, while other goroutines read its standard input
// and write to its standard output and standard error.
func TestSleepIsNoCPUTime(t *testing.T) {
	for _, script := range []string{
		`while [ $((i=i+1)) -lt 90 ]; do echo tick; sleep 1; done & sleep 100`,
		`while [ $((i=i+1)) -lt 90 ]; do ls /tmp/nope; sleep 1; done 2>&1 & sleep 100`,
		`{ while [ $((i=i+1)) -lt 90 ]; do echo tick >&2; sleep 1; done | sleep 100; } 2>&1`,
		`while [ $((i=i+1)) -lt 90 ] && read x; do sleep 1; done | sleep 100`,
	} {
		t.Run(script, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSession(t.Context(), newContainer(t), Streams{Stdin: endless{}})
				p := s.container.newProcess([]string{"sh", "-c", script})
				p.session, p.stdin, p.stdout, p.stderr, p.meter = s, s.stdin, s.stdout, s.stderr, newMeter(s)
				if exit, err := s.start(s.ctx, p); exit != 0 || err != nil {
					t.Errorf("exit code %d, %v", exit, err)
				}
				s.end()
				if used := time.Duration(s.cpu.Load()); used > 0 {
					t.Errorf("a shell that sleeps has used %v of CPU time", used)
				}
			})
		})
	}
}

// endless is an input of empty lines.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	p[0] = '\n'
	return 1, nil
}

// TestLimitOfCPU checks that a command ends when it has used too much CPU time.
func TestLimitOfCPU(t *testing.T) {
	var out screen
	s := newSession(t.Context(), newContainer(t), Streams{Stderr: &out})
	defer s.end()
	s.cpu.Store(int64(maxCPU - cpuSlice))
	s.spend(s.ctx, cpuSlice)
	if s.ctx.Err() != nil {
		t.Error("it ended too early")
	}
	s.spend(s.ctx, cpuSlice)
	if cause := context.Cause(s.ctx); cause != error(signal(sigXCPU)) ||
		out.String() != "sh: CPU time limit exceeded: the command has used 10m0s\n" {
		t.Errorf("%v, %q", cause, out.String())
	}
}

// TestNumberOfCommands checks the error of a command when too many others run in the container.
func TestNumberOfCommands(t *testing.T) {
	c := newContainer(t)
	in, keys := io.Pipe()
	var others sync.WaitGroup
	for range maxCommands {
		others.Go(func() {
			if _, err := c.Run(t.Context(), []string{"cat"}, Streams{Stdin: in}); err != nil {
				t.Error(err)
			}
		})
	}
	for c.commands.used.Load() < maxCommands {
		runtime.Gosched()
	}
	_, err := c.Run(t.Context(), []string{"true"}, Streams{})
	if start, ok := errors.AsType[*pods.StartError](err); !ok || start.Code != 126 ||
		!strings.HasSuffix(start.Text, "process: resource temporarily unavailable: the container runs 100 commands") {
		t.Errorf("%v", err)
	}
	_ = keys.Close()
	others.Wait()
	if _, err := c.Run(t.Context(), []string{"true"}, Streams{}); err != nil {
		t.Error(err)
	}
}

// TestSizeOfDisk checks the size of the file system, and that an error names the limit that was reached.
func TestSizeOfDisk(t *testing.T) {
	c := newContainer(t, func(config *Config) { config.Disk = 1 << 20 })
	got := sh(t, c, `df | tail -n 1; head -c 2000000 /dev/zero > /tmp/x; i=0; while echo > /tmp/$((i=i+1)); do :; done`)
	const full = "No space left on device: the container's file system has "
	if got.stdout != "overlay                   1024         0      1024   0% /\n" ||
		!strings.HasPrefix(got.stderr, "head: write error: "+full+"1 MiB\n") {
		t.Errorf("%+v", got)
	}
	got = sh(t, c, `rm -r /tmp; mkdir /tmp; i=0; while : > /tmp/$((i=i+1)); do :; done; [ $i -gt 9000 ] && echo many`)
	if got.stdout != "many\n" || !strings.Contains(got.stderr, full+"10000 files\n") {
		t.Errorf("%+v", got)
	}
}
