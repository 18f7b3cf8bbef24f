package shell

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/time/rate"
)

// The commands of a container may use one CPU, and those of all containers half of the CPUs, so that scripts cannot
// starve the server. A command that has used its share waits. This is how a container runtime enforces a CPU limit.
const (
	maxCPU      = 10 * time.Minute       // of one Run; a longer Run ends like a process that exceeds RLIMIT_CPU
	cpuBurst    = 20 * time.Millisecond  // the CPU time that commands may use at once, before they wait
	cpuSlice    = time.Millisecond       // the CPU time that a goroutine uses before it counts
	mostCounted = 200 * time.Millisecond // the time between two calls of meter.tick that counts as CPU time
	sigXCPU     = 24
)

var cpuOfProcess = cpuLimiter(float64(runtime.GOMAXPROCS(0)) / 2)

// cpuLimiter returns a limiter of CPU time, in microseconds.
func cpuLimiter(cpus float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(cpus*1e6), int(cpuBurst.Microseconds()))
}

// meter measures the CPU time of a goroutine that runs commands. It takes the time between two calls of tick for CPU
// time, without the time during which the goroutine has blocked. Only this goroutine may use it. A nil meter measures
// nothing.
type meter struct {
	session *session
	last    time.Time // of tick or skip
}

func newMeter(s *session) *meter { return &meter{s, time.Now()} }

// tick counts the CPU time since the last tick. It waits if the container or the process has used its share.
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

// spend counts CPU time, and waits if the container or the process has used its share. One goroutine of a container
// waits at a time, so that the CPU time that is reserved for a busy container does not add up, and delays no other.
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
