package shell

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/time/rate"
)

// The commands of a container may use one CPU, and the commands of all containers together may use half of the
// machine's CPUs, so that scripts cannot starve the server. A command waits while its container, or all containers
// together, have used their share. This is how a container runtime enforces a CPU limit.
const (
	maxCPU      = 10 * time.Minute       // of one Run; a longer Run ends like a process that exceeds RLIMIT_CPU
	cpuBurst    = 20 * time.Millisecond  // the CPU time that commands may use at once, before they wait
	cpuSlice    = time.Millisecond       // the CPU time that a goroutine uses before it counts
	mostCounted = 200 * time.Millisecond // the time between two calls of meter.tick that counts as CPU time
	sigXCPU     = 24
)

var cpuOfProcess = cpuLimiter(float64(runtime.GOMAXPROCS(0)) / 2)

// cpuLimiter returns a limiter that allows a number of CPUs. Each token of the limiter is a microsecond of CPU time.
func cpuLimiter(cpus float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(cpus*1e6), int(cpuBurst.Microseconds()))
}

// meter estimates the CPU time of a goroutine that runs commands: the time between two calls of tick, minus the time
// during which the goroutine was blocked. Only this goroutine may use the meter. A nil meter measures nothing.
type meter struct {
	session *session
	last    time.Time // of tick or skip
}

func newMeter(s *session) *meter { return &meter{s, time.Now()} }

// tick counts the CPU time since the last tick. It waits while the container, or all containers together, have used
// their share.
func (m *meter) tick(ctx context.Context) {
	if m == nil {
		return
	}
	if used := min(time.Since(m.last), mostCounted); used >= cpuSlice {
		m.session.spend(ctx, used)
		m.skip()
	}
}

// skip ignores the time since the last tick, because the goroutine has blocked.
func (m *meter) skip() {
	if m != nil {
		m.last = time.Now()
	}
}

// spend counts CPU time, and waits while the container, or all containers together, have used their share. Only one
// goroutine of a container waits for the limiters at a time; the others wait for this goroutine. Otherwise each
// goroutine of a busy container would reserve CPU time in advance, and the sum would delay the commands of other
// containers.
func (s *session) spend(ctx context.Context, used time.Duration) {
	if s.cpu.Add(int64(used)) > int64(maxCPU) {
		s.fail(fmt.Sprintf("sh: CPU time limit exceeded: the command has used %v", maxCPU), 128+sigXCPU)
		return
	}
	select {
	case s.container.turn <- struct{}{}:
		defer func() { <-s.container.turn }()
	case <-ctx.Done():
		return
	}
	for ; used > 0; used -= cpuBurst { // a limiter takes at most cpuBurst at once
		n := int(min(used, cpuBurst).Microseconds())
		for _, limiter := range []*rate.Limiter{s.container.cpu, cpuOfProcess} {
			if limiter.WaitN(ctx, n) != nil { // also if it would have to wait longer than until the deadline of ctx
				<-ctx.Done()
				return
			}
		}
	}
}
