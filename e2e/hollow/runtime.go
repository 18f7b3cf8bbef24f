package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	apitest "k8s.io/cri-api/pkg/apis/testing"
	utilexec "k8s.io/utils/exec"
)

// lifeVariable is the environment variable of a container that specifies how the container ends, in the format of a
// fauxlet scenario.
const lifeVariable = "HOLLOW_LIFE"

// containerLife describes when and how a container ends.
type containerLife struct {
	// Init marks an init container. It ends with exit code 0 unless Exits gives another one.
	Init  bool `json:"init"`
	Exits *struct {
		After  metav1.Duration `json:"after"`
		Code   int32           `json:"code"`
		Reason string          `json:"reason"`
		Times  uint32          `json:"times"`
	} `json:"exits"`
	Stops struct {
		After metav1.Duration `json:"after"`
		Code  int32           `json:"code"`
	} `json:"stops"`
}

const killed = 137

// containerRuntime is the fake runtime from the CRI's own tests, extended with containers that end.
type containerRuntime struct {
	*apitest.FakeRuntimeService

	mu        sync.Mutex
	lives     map[string]containerLife // by container ID
	sandboxes int
}

func newRuntime() *containerRuntime {
	r := &containerRuntime{FakeRuntimeService: apitest.NewFakeRuntimeService(), lives: map[string]containerLife{}}
	r.FakeStatus = &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: true}, {Type: runtimeapi.NetworkReady, Status: true},
	}}
	return r
}

// RunPodSandbox gives each pod its own address, except pods on the host's network.
func (r *containerRuntime) RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig,
	handler string) (string, error) {
	id, err := r.FakeRuntimeService.RunPodSandbox(ctx, config, handler)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	r.sandboxes++
	ip := fmt.Sprintf("10.200.%d.%d", r.sandboxes/250, r.sandboxes%250+1)
	r.mu.Unlock()
	if config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE {
		ip = ""
	}
	r.Lock()
	defer r.Unlock()
	r.Sandboxes[id].Network.Ip = ip
	return id, nil
}

// CreateContainer records how the container ends.
func (r *containerRuntime) CreateContainer(ctx context.Context, sandbox string, config *runtimeapi.ContainerConfig,
	sandboxConfig *runtimeapi.PodSandboxConfig) (string, error) {
	var life containerLife
	for _, variable := range config.Envs {
		if variable.Key == lifeVariable {
			if err := json.Unmarshal([]byte(variable.Value), &life); err != nil {
				return "", fmt.Errorf("%s: %w", lifeVariable, err)
			}
		}
	}
	id, err := r.FakeRuntimeService.CreateContainer(ctx, sandbox, config, sandboxConfig)
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lives[id] = life
	return id, nil
}

// StartContainer starts a container, and schedules its end.
func (r *containerRuntime) StartContainer(ctx context.Context, id string) error {
	if err := r.FakeRuntimeService.StartContainer(ctx, id); err != nil {
		return err
	}
	r.Lock()
	attempt := r.Containers[id].Metadata.Attempt
	r.Unlock()
	life := r.life(id)
	switch exits := life.Exits; {
	case exits != nil && (exits.Times == 0 || attempt < exits.Times):
		time.AfterFunc(exits.After.Duration, func() { r.end(id, exits.Code, exits.Reason) })
	case exits != nil && life.Init:
		time.AfterFunc(exits.After.Duration, func() { r.end(id, 0, "") })
	case life.Init:
		r.end(id, 0, "")
	}
	return nil
}

// StopContainer returns when the container has ended. After the timeout, in seconds, it kills the container.
func (r *containerRuntime) StopContainer(ctx context.Context, id string, timeout int64) error {
	if !r.runs(id) {
		return nil
	}
	stops := r.life(id).Stops
	wait, code := stops.After.Duration, stops.Code
	if grace := time.Duration(timeout) * time.Second; wait > grace {
		wait, code = grace, killed
	}
	ended := time.NewTimer(wait)
	defer ended.Stop()
	select {
	case <-ended.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.end(id, code, "")
	return nil
}

// ExecSync runs an exec probe of a container. The command of the probe is a duration, such as ["3s"]. The probe fails
// until the container has run for that duration.
func (r *containerRuntime) ExecSync(_ context.Context, id string, command []string, _ time.Duration) ([]byte, []byte,
	error) {
	if len(command) != 1 {
		return nil, nil, nil
	}
	after, err := time.ParseDuration(command[0])
	if err != nil {
		return nil, nil, err
	}
	r.Lock()
	defer r.Unlock()
	if c := r.Containers[id]; c == nil || time.Since(time.Unix(0, c.StartedAt)) < after {
		return nil, nil, utilexec.CodeExitError{Code: 1, Err: fmt.Errorf("the container has not run for %s yet", after)}
	}
	return nil, nil, nil
}

func (r *containerRuntime) life(id string) containerLife {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lives[id]
}

func (r *containerRuntime) runs(id string) bool {
	r.Lock()
	defer r.Unlock()
	c := r.Containers[id]
	return c != nil && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
}

// end ends a running container and records a reason, as a container runtime does.
func (r *containerRuntime) end(id string, code int32, reason string) {
	r.Lock()
	defer r.Unlock()
	c := r.Containers[id]
	if c == nil || c.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return
	}
	switch {
	case reason != "":
	case code == 0:
		reason = "Completed"
	default:
		reason = "Error"
	}
	c.State, c.FinishedAt, c.ExitCode, c.Reason = runtimeapi.ContainerState_CONTAINER_EXITED, time.Now().UnixNano(),
		code, reason
}
