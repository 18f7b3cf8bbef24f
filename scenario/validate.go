package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// StateRunning is the value of Container.State for a container that always runs.
const StateRunning = "Running"

// These are the other values of Container.State: reasons for waiting and reasons of termination.
var (
	waitingReasons = []string{
		"ContainerCreating", "CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError",
		"ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
		"PodInitializing", "RunContainerError",
	}
	terminationReasons = []string{"Completed", "ContainerCannotRun", "Error", "OOMKilled"}
)

// MaxCPU and MaxMemory are the largest amounts of CPU and memory that a container can use. No node has nearly as much,
// but calculations in nanocores and bytes still fit into 64 bits.
var (
	MaxCPU    = resource.MustParse("4096")
	MaxMemory = resource.MustParse("256Ti")
)

// DefaultLogInterval is the default of Log.Interval, the time between two lines of a log.
const DefaultLogInterval = time.Second

// maxTerminationMessage is the maximum length, in bytes, of the termination message that a kubelet keeps. (kubelet:
// pkg/kubelet/container, MaxContainerTerminationMessageLength)
const maxTerminationMessage = 4096

// maxWait is the longest duration that a container's description may contain. It is far longer than any pod exists, and
// far below the largest time.Duration.
const maxWait = 10 * 365 * 24 * time.Hour

// Validate checks the description of a container whose spec has the given resource limits, or no limits if they are
// nil. Errors begin with the name of the field, as in "exits.code: 300: must be from 0 to 255".
func (c *Container) Validate(limits v1.ResourceList) error {
	if err := c.Log.validate(); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if err := c.validateState(); err != nil {
		return err
	}
	if err := c.validateTimes(); err != nil {
		return err
	}
	for i, answer := range c.Exec {
		if err := answer.validate(); err != nil {
			return fmt.Errorf("exec[%d].%w", i, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
			return fmt.Errorf("files: %q: must be the absolute path of a file, as in /etc/motd", name)
		}
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, isFile := c.Files[dir]; isFile {
				return fmt.Errorf("files: %q: %s is a file, not a directory; remove one of them", name, dir)
			}
		}
	}
	least, most := resource.MustParse("1Mi"), resource.MustParse("256Mi")
	if c.Disk.Sign() != 0 && (c.Disk.Cmp(least) < 0 || c.Disk.Cmp(most) > 0) {
		return fmt.Errorf("disk: %s: must be from %s to %s; remove the field for the default", c.Disk.String(),
			least.String(), most.String())
	}
	for i, port := range c.Ports {
		if err := port.validate(); err != nil {
			return fmt.Errorf("ports[%d].%w", i, err)
		}
	}
	return c.Usage.validate(limits)
}

func (c *Container) validateState() error {
	if c.State == "" {
		return nil
	}
	if c.State != StateRunning && !slices.Contains(waitingReasons, c.State) &&
		!slices.Contains(terminationReasons, c.State) {
		return fmt.Errorf("state: %q: must be %s, a waiting reason (%s) or a reason of termination (%s)",
			c.State, StateRunning, strings.Join(waitingReasons, ", "), strings.Join(terminationReasons, ", "))
	}
	if c.Exits != nil || c.State != StateRunning && (c.StartAfter.Duration != 0 || c.ReadyAfter != nil) {
		return fmt.Errorf("state: %q: this state never changes; remove startAfter, readyAfter and exits, or "+
			"remove state", c.State)
	}
	return nil
}

func (c *Container) validateTimes() error {
	if c.Exits != nil {
		if err := c.Exits.validate(); err != nil {
			return fmt.Errorf("exits.%w", err)
		}
	}
	return cmp.Or(validateWait("startAfter", c.StartAfter),
		validateWait("readyAfter", ptr.Deref(c.ReadyAfter, metav1.Duration{})),
		validateWait("stops.after", c.Stops.After), validateExitCode("stops.code", int64(c.Stops.Code)))
}

func (l *Log) validate() error {
	interval := cmp.Or(l.Interval.Duration, DefaultLogInterval)
	generated := l.Text == "" && l.File == ""
	switch {
	case interval < 0:
		return fmt.Errorf("interval: %v: must not be negative; it is the time between two lines, by default 1s",
			interval)
	case l.Lines < 0:
		return fmt.Errorf("lines: %d: must not be negative; 0 means the default", l.Lines)
	case l.Lines > math.MaxInt64/4/int64(interval):
		return fmt.Errorf("lines: %d: too many for an interval of %v: the log would last longer than 70 years", l.Lines,
			interval)
	case !(l.Stderr >= 0 && l.Stderr <= 1): // this form also rejects NaN
		return fmt.Errorf("stderr: %v: must be from 0 to 1; it is the share of the lines that go to standard error",
			l.Stderr)
	case l.Text != "" && l.File != "":
		return errors.New("text and file: both are set; remove one of them")
	case !generated && (l.Lines != 0 || l.Seed != 0):
		return errors.New("lines and seed are for generated lines: remove them, or remove text and file")
	case l.Previous == nil:
		return nil
	case l.Previous.Previous != nil:
		return errors.New("previous.previous: a kubelet keeps only one previous log; remove the inner previous")
	}
	if err := l.Previous.validate(); err != nil {
		return fmt.Errorf("previous.%w", err)
	}
	return nil
}

func (u *Usage) validate(limits v1.ResourceList) error {
	for _, amount := range []struct {
		field        string
		value, most  resource.Quantity
		resourceName v1.ResourceName
	}{
		{field: "cpu", value: u.CPU, most: MaxCPU, resourceName: v1.ResourceCPU},
		{field: "memory", value: u.Memory, most: MaxMemory, resourceName: v1.ResourceMemory},
	} {
		limit, limited := limits[amount.resourceName]
		switch {
		case amount.value.Sign() < 0:
			return fmt.Errorf("usage.%s: %s: must not be negative; remove the field for the default", amount.field,
				amount.value.String())
		case amount.value.Cmp(amount.most) > 0:
			return fmt.Errorf("usage.%s: %s: must be at most %s", amount.field, amount.value.String(),
				amount.most.String())
		case limited && amount.value.Cmp(limit) > 0:
			return fmt.Errorf("usage.%s: %s: must be at most the container's limit, %s; lower the usage or raise "+
				"resources.limits.%[1]s", amount.field, amount.value.String(), limit.String())
		}
	}
	return nil
}

func (e *Exit) validate() error {
	if err := cmp.Or(validateWait("after", e.After), validateExitCode("code", int64(e.Code))); err != nil {
		return err
	}
	switch {
	case e.Reason != "" && !slices.Contains(terminationReasons, e.Reason):
		return fmt.Errorf("reason: %q: must be one of %s", e.Reason, strings.Join(terminationReasons, ", "))
	case e.Reason == "Completed" && e.Code != 0:
		return fmt.Errorf("reason: %q: is the reason for exit code 0, but code is %d; change reason or code", e.Reason,
			e.Code)
	case e.Times < 0:
		return fmt.Errorf("times: %d: must not be negative; 0 means every run", e.Times)
	case len(e.Message) > maxTerminationMessage:
		return fmt.Errorf("message: must be at most %d bytes, as in a kubelet, but has %d bytes", maxTerminationMessage,
			len(e.Message))
	}
	return nil
}

func (a *ExecAnswer) validate() error {
	if a.Delay.Duration < 0 || a.Delay.Duration > 24*time.Hour {
		return fmt.Errorf("delay: %v: must be from 0 to 24h", a.Delay.Duration)
	}
	return validateExitCode("exitCode", int64(a.ExitCode))
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
		err = errors.New("the address is not on loopback, or its port is 0")
	}
	if err != nil {
		return fmt.Errorf("forward: %q: %w; it must be an address and port on loopback, as in 127.0.0.1:8080",
			p.Forward, err)
	}
	return nil
}

func validateWait(field string, d metav1.Duration) error {
	if d.Duration < 0 || d.Duration > maxWait {
		return fmt.Errorf("%s: %v: must be from 0 to %v", field, d.Duration, maxWait)
	}
	return nil
}

func validateExitCode(field string, code int64) error {
	if code < 0 || code > 255 {
		return fmt.Errorf("%s: %d: must be from 0 to 255", field, code)
	}
	return nil
}
