package pods

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Container is what is made up of one container: all that its pod does not say.
type Container struct {
	// Log is what it has written.
	Log Log `json:"log,omitzero"`

	// Usage is what it uses.
	Usage Usage `json:"usage,omitzero"`

	// State is what has become of the container, where the pod comes without a status: "Running", which it is if this is
	// empty, the reason for which it waits ("CrashLoopBackOff", "ImagePullBackOff" …) or the one for which it ended
	// ("Completed", "Error", "OOMKilled" …). An init container that is not named has run and ended.
	State string `json:"state,omitempty"`

	// StartAfter is how long it takes until the container runs for the first time, its image pulled: from when its turn
	// comes, which is at the pod's start or when the init containers before it are done.
	StartAfter metav1.Duration `json:"startAfter,omitzero"`

	// ReadyAfter is how long after each start the container is Ready. Left out, it is what its startup and readiness probes
	// need (initialDelaySeconds, and successThreshold periods), which all succeed; 0 is at once whatever they say.
	ReadyAfter *metav1.Duration `json:"readyAfter,omitempty"`

	// Exits is how the container ends by itself. Left out, an init container that is no sidecar ends with 0 at once, and
	// any other runs until it is stopped.
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
	endedReasons = []string{"Completed", "ContainerCannotRun", "Error", "OOMKilled"}
)

const stateRunning = "Running"

func (c *Container) validate() error {
	if err := c.Log.validate(); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if c.State != "" && c.State != stateRunning && !slices.Contains(waitingReasons, c.State) && !slices.Contains(endedReasons, c.State) {
		return fmt.Errorf("state: %q: must be %s, a reason to wait (%s) or a reason to have ended (%s)", c.State, stateRunning, strings.Join(waitingReasons, ", "), strings.Join(endedReasons, ", "))
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

func (a *Answer) validate() error {
	switch {
	case a.ExitCode < 0 || a.ExitCode > 255:
		return fmt.Errorf("exitCode: %d: must be from 0 to 255", a.ExitCode)
	case a.Delay.Duration < 0 || a.Delay.Duration > 24*time.Hour:
		return fmt.Errorf("delay: %v: must be from 0 to 24h", a.Delay.Duration)
	}
	return nil
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

// status is that of a container in the state that was given for it. Init containers that are no sidecars have ended where
// nothing is given.
func (c *Container) status(pod *v1.Pod, name, image string, ends bool) v1.ContainerStatus {
	started := pod.CreationTimestamp
	id := containerID(pod, name, "")
	s := v1.ContainerStatus{Name: name, Image: image, ImageID: imageID(image), ContainerID: id}
	ended := func(id, reason string) *v1.ContainerStateTerminated {
		t := &v1.ContainerStateTerminated{Reason: reason, StartedAt: started, FinishedAt: started, ContainerID: id}
		switch reason {
		case "Completed":
		case "OOMKilled":
			t.ExitCode = 137
		case "ContainerCannotRun":
			t.ExitCode = 128
		default:
			t.ExitCode = 1
		}
		return t
	}
	state := c.State
	if state == "" && ends {
		state = "Completed"
	}
	no := false
	s.Started = &no
	switch {
	case state == "" || state == stateRunning:
		yes := true
		s.Started, s.Ready = &yes, true
		s.State.Running = &v1.ContainerStateRunning{StartedAt: started}
	case slices.Contains(endedReasons, state):
		s.State.Terminated = ended(id, state)
		s.Ready = ends && state == "Completed"
	case state == "CrashLoopBackOff":
		s.State.Waiting = &v1.ContainerStateWaiting{
			Reason:  state,
			Message: fmt.Sprintf("back-off 5m0s restarting failed container=%s pod=%s_%s(%s)", name, pod.Name, pod.Namespace, pod.UID),
		}
		s.LastTerminationState.Terminated = ended(id, "Error")
		s.RestartCount = crashes
	default:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: state}
		s.ContainerID, s.ImageID = "", ""
	}
	if c.Log.Previous != nil && s.LastTerminationState.Terminated == nil {
		s.RestartCount = 1
		s.LastTerminationState.Terminated = ended(containerID(pod, name, "previous"), "Error")
	}
	return s
}

// crashes is how often a container has been restarted once its back-off is the longest.
const crashes = 7
