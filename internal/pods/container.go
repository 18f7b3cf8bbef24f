package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Container is what is made up of one container: all that its pod does not say.
type Container struct {
	// Log is what it has written.
	Log Log `json:"log,omitzero"`

	// Usage is what it uses.
	Usage Usage `json:"usage,omitzero"`

	// State is what has become of the container, once and for all: "Running", the reason for which it waits
	// ("CrashLoopBackOff", "ImagePullBackOff" …) or the one for which it ended ("Completed", "Error", "OOMKilled" …). Empty,
	// it lives as the following fields say; of a pod that comes without a status and has no node to live on, that is an
	// init container that has run and ended, and others that run.
	State string `json:"state,omitempty"`

	// StartAfter is how long it takes until the container runs for the first time, its image pulled: from when its turn
	// comes, which is at the pod's start or when the init containers before it are done.
	StartAfter metav1.Duration `json:"startAfter,omitzero"`

	// ReadyAfter is how long after each start the container is Ready. Left out, it is what its startup and readiness probes
	// need (initialDelaySeconds, and successThreshold periods), which all succeed; 0 is at once whatever they say.
	ReadyAfter *metav1.Duration `json:"readyAfter,omitempty"`

	// Exits is how the container ends by itself. Left out, an init container that is no sidecar ends with 0 at once, and
	// any other runs until it is stopped, whatever its restartPolicy: a Job is done only where its container Exits.
	Exits *Exit `json:"exits,omitempty"`

	// Stops is what it does when it is told to stop: SIGTERM, as when the pod is deleted. Left out, it ends with 0 at once.
	Stops Stop `json:"stops,omitzero"`

	// Exec are answers to commands; the first whose Command is that of a request is given. A command without one is run by
	// a shell that has files of its own and nothing of the host. (package shell)
	Exec []Answer `json:"exec,omitempty"`

	// Files are those that a command finds, by absolute path, beside those of any system.
	Files map[string]string `json:"files,omitempty"`

	// Ports are those of the container, beside the ones of its spec. Each answers HTTP with a page that says what was
	// reached, or is forwarded. A pod with no port at all answers on each.
	Ports []Port `json:"ports,omitempty"`
}

// Exit is the end of a container's run. What restartPolicy says is done then, with the kubelet's back-off.
type Exit struct {
	// After is how long a run lasts.
	After metav1.Duration `json:"after,omitzero"`
	// Code is the exit code, from 0 to 255.
	Code int32 `json:"code,omitempty"`
	// Reason is Completed if the code is 0, and Error otherwise; OOMKilled is another, and makes the code 137 where none is
	// given.
	Reason string `json:"reason,omitempty"`
	// Message is what the container leaves in its terminationMessagePath.
	Message string `json:"message,omitempty"`
	// Times is how many runs end so; 0: all of them. A later run goes on until it is stopped, or, in an init container that
	// is no sidecar, ends with 0 after the same time.
	Times int32 `json:"times,omitempty"`
}

// Stop is the end of a container that is told to stop.
type Stop struct {
	// After is how long it takes. A container that takes longer than the pod's grace period is killed at its end, with 137.
	After metav1.Duration `json:"after,omitzero"`
	// Code is the exit code, from 0 to 255.
	Code int32 `json:"code,omitempty"`
}

// Answer is what a command gives.
type Answer struct {
	// Command is compared with the command of a request, word by word. Empty: any.
	Command []string `json:"command,omitempty"`
	// Stdout and Stderr are written after Delay; ExitCode, from 0 to 255, ends the command.
	Delay    metav1.Duration `json:"delay,omitzero"`
	Stdout   string          `json:"stdout,omitempty"`
	Stderr   string          `json:"stderr,omitempty"`
	ExitCode int             `json:"exitCode,omitempty"`
}

// Port is a TCP port on which something listens within the pod.
type Port struct {
	Port int32 `json:"port"`
	// Forward is where its connections go, an address on loopback as in 127.0.0.1:8080. Empty: to a page that says what was
	// reached.
	Forward string `json:"forward,omitempty"`
}

// States are the words for which a container waits or has ended; any other is not a State.
var (
	waitingReasons = []string{
		"ContainerCreating", "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ErrImagePull",
		"ImageInspectError", "ImagePullBackOff", "InvalidImageName", "PodInitializing", "RunContainerError",
	}
	endedReasons = []string{completed, "ContainerCannotRun", "Error", "OOMKilled"}
)

const (
	stateRunning = "Running"
	completed    = "Completed"
)

// exitCodes are those of containers that ended for a reason, where nothing else is said.
var exitCodes = map[string]int32{"ContainerCannotRun": 128, "Error": 1, "OOMKilled": killedCode}

func (c *Container) validate() error {
	if err := c.Log.validate(); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if c.State != "" && c.State != stateRunning && !slices.Contains(waitingReasons, c.State) && !slices.Contains(endedReasons, c.State) {
		return fmt.Errorf("state: %q: must be %s, a reason to wait (%s) or a reason to have ended (%s)", c.State, stateRunning, strings.Join(waitingReasons, ", "), strings.Join(endedReasons, ", "))
	}
	if err := c.validateLife(); err != nil {
		return err
	}
	for i, answer := range c.Exec {
		if err := answer.validate(); err != nil {
			return fmt.Errorf("exec[%d].%w", i, err)
		}
	}
	for name := range c.Files {
		if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
			return fmt.Errorf("files: %q: must be the absolute path of a file, as in /etc/motd", name)
		}
	}
	for i, port := range c.Ports {
		if err := port.validate(); err != nil {
			return fmt.Errorf("ports[%d].%w", i, err)
		}
	}
	return nil
}

func (c *Container) validateLife() error {
	if c.State != "" && (c.Exits != nil || c.State != stateRunning && (c.StartAfter.Duration != 0 || c.ReadyAfter != nil)) {
		return fmt.Errorf("state: %q: it is a state that never changes; leave out startAfter, readyAfter and exits, or leave out state", c.State)
	}
	if err := validateWait("startAfter", c.StartAfter); err != nil {
		return err
	}
	if c.ReadyAfter != nil {
		if err := validateWait("readyAfter", *c.ReadyAfter); err != nil {
			return err
		}
	}
	if c.Exits != nil {
		if err := c.Exits.validate(); err != nil {
			return fmt.Errorf("exits.%w", err)
		}
	}
	if err := validateWait("stops.after", c.Stops.After); err != nil {
		return err
	}
	return validateCode("stops.code", int64(c.Stops.Code))
}

func (e *Exit) validate() error {
	if err := validateWait("after", e.After); err != nil {
		return err
	}
	if err := validateCode("code", int64(e.Code)); err != nil {
		return err
	}
	switch {
	case e.Reason != "" && !slices.Contains(endedReasons, e.Reason):
		return fmt.Errorf("reason: %q: must be one of %s", e.Reason, strings.Join(endedReasons, ", "))
	case e.Reason == completed && e.Code != 0:
		return fmt.Errorf("reason: %q: it is that of code 0, and code is %d", e.Reason, e.Code)
	case e.Times < 0:
		return fmt.Errorf("times: %d: must not be negative; 0 is each run", e.Times)
	case len(e.Message) > mostMessage:
		return fmt.Errorf("message: it has %d bytes, and a kubelet keeps %d", len(e.Message), mostMessage)
	}
	return nil
}

// mostMessage is the length of a container's termination message. (kubelet: pkg/kubelet/container, MaxContainerTerminationMessageLength)
const mostMessage = 4096

// longestWait is far beyond the life of a pod, and far from where the arithmetic ends.
const longestWait = 10 * 365 * 24 * time.Hour

func validateWait(field string, d metav1.Duration) error {
	if d.Duration < 0 || d.Duration > longestWait {
		return fmt.Errorf("%s: %v: must be from 0 to %v", field, d.Duration, longestWait)
	}
	return nil
}

func validateCode(field string, code int64) error {
	if code < 0 || code > 255 {
		return fmt.Errorf("%s: %d: must be from 0 to 255", field, code)
	}
	return nil
}

// Ended is the run, after it has ended by itself.
func (e *Exit) Ended(r Run, when time.Time) Run {
	r.Finished, r.Code, r.Reason, r.Message = when, e.Code, e.Reason, e.Message
	if r.Reason == "" {
		r.Reason = reasonOf(r.Code)
	} else if r.Code == 0 {
		r.Code = exitCodes[r.Reason]
	}
	return r
}

// Ended is the run, after the container was told to stop, and did, or was killed for not having done so.
func (s *Stop) Ended(r Run, when time.Time, killed bool) Run {
	r.Finished, r.Code = when, s.Code
	if killed {
		r.Code = killedCode
	}
	r.Reason = reasonOf(r.Code)
	return r
}

// killedCode is that of a container that was ended by SIGKILL.
const killedCode = 137

func reasonOf(code int32) string {
	if code == 0 {
		return completed
	}
	return "Error"
}

func (a *Answer) validate() error {
	if a.Delay.Duration < 0 || a.Delay.Duration > 24*time.Hour {
		return fmt.Errorf("delay: %v: must be from 0 to 24h", a.Delay.Duration)
	}
	return validateCode("exitCode", int64(a.ExitCode))
}

func (p *Port) validate() error {
	if p.Port < 1 || p.Port > 65535 {
		return fmt.Errorf("port: %d: must be from 1 to 65535", p.Port)
	}
	if p.Forward == "" {
		return nil
	}
	address, err := netip.ParseAddrPort(p.Forward)
	if err == nil && (!address.Addr().IsLoopback() || address.Port() == 0) {
		err = errors.New("it is not on loopback")
	}
	if err != nil {
		return fmt.Errorf("forward: %q: %w; it must be an address and port on loopback, as in 127.0.0.1:8080", p.Forward, err)
	}
	return nil
}

// Moment is what the container is at any moment of a pod that has been since then, where State says it or there is no
// word of another life.
func (c *Container) Moment(kind ContainerType, since time.Time) Moment {
	since = since.Truncate(time.Second)
	state := c.State
	if state == "" && kind == InitContainer {
		state = completed
	}
	var m Moment
	switch {
	case state == "" || state == stateRunning:
		m = Moment{Run: Run{Started: since}, Started: true, Ready: true}
	case slices.Contains(endedReasons, state):
		m.Run = endedBy(state, since)
	case state == crashLoop:
		m = Moment{Waiting: state, BackOff: longestBackOff, Run: endedBy("Error", since)}
		m.Run.Number = crashes
		return m
	default:
		m.Waiting = state
		return m
	}
	if c.Log.Previous != nil {
		m.Run.Number, m.Last = 1, endedBy("Error", since)
	}
	return m
}

func endedBy(reason string, when time.Time) Run {
	return Run{Started: when, Finished: when, Reason: reason, Code: exitCodes[reason]}
}

// longestBackOff is that of a kubelet, and crashes how often a container has been restarted when it comes to it.
const (
	longestBackOff = 5 * time.Minute
	crashes        = 7
)
