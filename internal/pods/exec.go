package pods

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	utilexec "k8s.io/utils/exec"

	"fauxlet/internal/podlife"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// Exec runs a command in a container that runs, or gives the answer that the scenario has for it. It returns when the
// command has ended, with an [utilexec.CodeExitError] if its exit code is not 0, or when ctx is done. A command that
// cannot be started says why on standard error, as a container runtime does, with exit code 126 or 127.
func (s *Store) Exec(ctx context.Context, namespace, name, container string, command []string, streams Streams) error {
	e, running := s.running(namespace, name, container)
	if !running {
		return errNotRunning(container)
	}
	if streams.Stdout == nil {
		streams.Stdout = io.Discard
	}
	switch {
	case streams.TTY:
		streams.Stderr = streams.Stdout
	case streams.Stderr == nil:
		streams.Stderr = io.Discard
	}
	in := e.of(container)
	ctx, cancel := in.whileIn(ctx)
	defer cancel()
	err := e.exec(ctx, in, command, streams)
	if in.isOver() {
		return exited(killed)
	}
	return err
}

// killed is the exit code of a command that was under way when its container ended.
const killed = 137

// exec answers a command, or runs it.
func (e *entry) exec(ctx context.Context, c *container, command []string, streams Streams) error {
	for _, answer := range c.is.Exec {
		if len(answer.Command) == 0 || slices.Equal(answer.Command, command) {
			return give(ctx, &answer, streams)
		}
	}
	system, err := e.systemOf(c)
	if err != nil {
		return err
	}
	code, err := system.Run(ctx, command, streams)
	var start *shell.StartError
	if errors.As(err, &start) {
		end := "\n"
		if streams.TTY {
			end = "\r\n"
		}
		if _, err := io.WriteString(streams.Stderr, start.Text+end); err != nil {
			return err
		}
		return exited(start.Code)
	}
	if err != nil {
		return err
	}
	return exited(code)
}

// systemOf is what commands find in a container, for as long as it runs.
func (e *entry) systemOf(c *container) (*shell.Container, error) {
	// A run holds no entry: it goes on when the pod has another.
	c.run.once.Do(func() { c.run.system, c.run.err = shell.New(e.system(c)) })
	return c.run.system, c.run.err
}

// system is what the pod and the scenario say of what commands find.
func (e *entry) system(c *container) shell.Config {
	pod, spec := e.pod, podlife.ContainerSpec(e.pod, c.name)
	config := shell.Config{
		Hostname:   pod.Name,
		IP:         pod.Status.PodIP,
		WorkingDir: spec.WorkingDir,
		Command:    slices.Concat(spec.Command, spec.Args),
		Files:      c.is.Files,
		Started:    pod.CreationTimestamp.Time,
	}
	if pod.Spec.Hostname != "" {
		config.Hostname = pod.Spec.Hostname
	}
	if status := podlife.ContainerStatus(pod, c.name); isRunning(status) {
		config.Started = status.State.Running.StartedAt.Time
	}
	if len(config.Command) == 0 {
		config.Command = []string{"/" + imageName(spec.Image)}
	}
	if c := pod.Spec.SecurityContext; c != nil {
		set(&config.UID, c.RunAsUser)
		set(&config.GID, c.RunAsGroup)
	}
	if c := spec.SecurityContext; c != nil {
		set(&config.UID, c.RunAsUser)
		set(&config.GID, c.RunAsGroup)
	}
	for _, variable := range spec.Env {
		if value, known := e.value(variable); known {
			config.Env = append(config.Env, variable.Name+"="+value)
		}
	}
	for _, variable := range []string{"SERVICE_HOST=10.96.0.1", "SERVICE_PORT=443", "SERVICE_PORT_HTTPS=443", "PORT=tcp://10.96.0.1:443"} {
		config.Env = append(config.Env, "KUBERNETES_"+variable)
	}
	return config
}

func set(into *int64, value *int64) {
	if value != nil {
		*into = *value
	}
}

// value is that of a variable of which the pod itself says it: as it stands, or one of its own fields. What is in a
// ConfigMap or a Secret, nobody here knows.
func (e *entry) value(variable v1.EnvVar) (string, bool) {
	if variable.ValueFrom == nil {
		return variable.Value, true
	}
	if variable.ValueFrom.FieldRef == nil {
		return "", false
	}
	pod := e.pod
	switch variable.ValueFrom.FieldRef.FieldPath {
	case "metadata.name":
		return pod.Name, true
	case "metadata.namespace":
		return pod.Namespace, true
	case "metadata.uid":
		return string(pod.UID), true
	case "spec.nodeName":
		return pod.Spec.NodeName, true
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, true
	case "status.podIP":
		return pod.Status.PodIP, true
	case "status.hostIP":
		return pod.Status.HostIP, true
	}
	return "", false
}

// imageName is the last part of an image's name, without its tag.
func imageName(image string) string {
	image = image[strings.LastIndex(image, "/")+1:]
	image, _, _ = strings.Cut(image, "@")
	image, _, _ = strings.Cut(image, ":")
	if image == "" {
		return "app"
	}
	return image
}

func give(ctx context.Context, a *scenario.ExecAnswer, streams Streams) error {
	if a.Delay.Duration > 0 {
		timer := time.NewTimer(a.Delay.Duration)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	stdout, stderr := streams.Stdout, streams.Stderr
	if streams.TTY {
		stdout = &terminal{to: streams.Stdout}
		stderr = stdout
	}
	if _, err := io.WriteString(stdout, a.Stdout); err != nil {
		return err
	}
	if _, err := io.WriteString(stderr, a.Stderr); err != nil {
		return err
	}
	return exited(a.ExitCode)
}

// exited is the error of a command that ended with a code; none for 0.
func exited(code int) error {
	if code == 0 {
		return nil
	}
	return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
}
