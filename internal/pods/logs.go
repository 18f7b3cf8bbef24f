package pods

import (
	"cmp"
	"context"
	"fmt"
	"io"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/podlife"
)

// Logs writes lines of a container's log to stdout and stderr. The options select the lines. If a writer is nil, Logs
// drops the lines of its stream. stdout and stderr may be the same writer. Errors about the pod and the container have
// the kubelet's text. A kubelet sends them with status 400. For the options and the errors of writers see
// podlog.Log.Read. (kubelet: GetKubeletContainerLogs, validateContainerLogStatus)
func (s *Store) Logs(ctx context.Context, namespace, name, container string, options *v1.PodLogOptions,
	stdout, stderr io.Writer) error {
	e, found := s.entry(namespace, name)
	if !found {
		return fmt.Errorf("pod %q cannot be found - no logs available", name)
	}
	status := podlife.ContainerStatus(e.pod, container)
	if status == nil {
		return fmt.Errorf("container %q in pod %q is not available", container, name)
	}
	if err := checkLogStatus(status, name, options.Previous); err != nil {
		return err
	}
	c := e.container(container)
	run, running := c.run, isRunning(status)
	if options.Previous {
		if run = c.previous; run == nil {
			return fmt.Errorf("previous terminated container %q in pod %q not found", container, name)
		}
		running = false
	}
	return run.log.Read(ctx, options, running, stdout, stderr)
}

// checkLogStatus returns the error for a container without a log. (kubelet: validateContainerLogStatus)
func checkLogStatus(status *v1.ContainerStatus, pod string, previous bool) error {
	state, last := status.State, status.LastTerminationState.Terminated
	hasLog := func(t *v1.ContainerStateTerminated) bool { return t != nil && t.ContainerID != "" }
	switch {
	case previous:
		if !hasLog(last) {
			return fmt.Errorf("previous terminated container %q in pod %q not found", status.Name, pod)
		}
	case state.Running != nil:
	case state.Terminated != nil, last != nil:
		if !hasLog(state.Terminated) && !hasLog(last) {
			return fmt.Errorf("container %q in pod %q is terminated", status.Name, pod)
		}
	case state.Waiting != nil:
		reason := cmp.Or(map[string]string{
			"ErrImagePull":     "image can't be pulled",
			"ImagePullBackOff": "trying and failing to pull image",
		}[state.Waiting.Reason], state.Waiting.Reason)
		return fmt.Errorf("container %q in pod %q is waiting to start: %v", status.Name, pod, reason)
	default:
		return fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", status.Name, pod)
	}
	return nil
}
