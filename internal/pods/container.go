package pods

import (
	"time"

	"fauxlet/scenario"
)

const completed = "Completed"

// exitCodes are the usual exit codes of the reasons of termination.
var exitCodes = map[string]int32{completed: 0, "ContainerCannotRun": 128, "Error": 1, "OOMKilled": killedCode}

// killedCode is the exit code after SIGKILL.
const killedCode = 137

func reasonOf(code int32) string {
	if code == 0 {
		return completed
	}
	return "Error"
}

// Exited returns the run after it has ended by itself.
func Exited(r Run, e *scenario.Exit, when time.Time) Run {
	r.Finished, r.Code, r.Reason, r.Message = when, e.Code, e.Reason, e.Message
	if r.Reason == "" {
		r.Reason = reasonOf(r.Code)
	} else if r.Code == 0 {
		r.Code = exitCodes[r.Reason]
	}
	return r
}

// Stopped returns the run after SIGTERM has ended it or, if killed is set, SIGKILL.
func Stopped(r Run, s scenario.Stop, when time.Time, killed bool) Run {
	r.Finished, r.Code = when, s.Code
	if killed {
		r.Code = killedCode
	}
	r.Reason = reasonOf(r.Code)
	return r
}

// FixedMoment returns the moment of a container that has not changed since a time: of one with a State, and of any
// container of a pod that has no life of its own.
func FixedMoment(c *scenario.Container, kind ContainerType, since time.Time) Moment {
	since = since.Truncate(time.Second)
	state := c.State
	if state == "" && kind == InitContainer {
		state = completed
	}
	endedBy := func(reason string) Run {
		return Run{Started: since, Finished: since, Reason: reason, Code: exitCodes[reason]}
	}
	_, terminated := exitCodes[state]
	var m Moment
	switch {
	case state == "" || state == scenario.StateRunning:
		m = Moment{Run: Run{Started: since}, Started: true, Ready: true}
	case terminated:
		m.Run = endedBy(state)
	case state == crashLoop:
		m = Moment{Waiting: state, BackOff: longestBackOff, Run: endedBy("Error")}
		m.Run.Number = crashes
		return m
	default:
		m.Waiting = state
		return m
	}
	if c.Log.Previous != nil {
		m.Run.Number, m.Last = 1, endedBy("Error")
	}
	return m
}

// longestBackOff is the kubelet's longest back-off, and crashes the number of restarts before it is reached.
const (
	longestBackOff = 5 * time.Minute
	crashes        = 7
)
