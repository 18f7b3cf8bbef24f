package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/server/healthz"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	"sigs.k8s.io/yaml"
)

// host implements the interface through which the kubelet's server uses the rest of a kubelet. It reads pods and
// logs from files.
type host struct {
	measured
	pods       []*v1.Pod
	logs       string
	nodeLogs   http.Handler // serves /logs/
	containers *streamed
}

func newHost(podsFile, logs, nodeLogs string, queries bool) (*host, error) {
	files := http.FileServer(http.Dir(nodeLogs))
	if queries {
		files = queryLogs(files)
	}
	h := &host{logs: logs, nodeLogs: http.StripPrefix("/logs/", files)}
	if podsFile == "" {
		return h, nil
	}
	data, err := os.ReadFile(podsFile)
	if err != nil {
		return nil, fmt.Errorf("--pods: %w", err)
	}
	var list v1.PodList
	if err := yaml.UnmarshalStrict(data, &list); err != nil {
		return nil, fmt.Errorf("--pods: %s: %w", podsFile, err)
	}
	for i := range list.Items {
		h.pods = append(h.pods, &list.Items[i])
	}
	return h, nil
}

// checkers are the health checks that the container manager of a kubelet on Linux adds to /healthz.
func checkers() []healthz.HealthChecker {
	return []healthz.HealthChecker{healthz.NamedCheck("device-plugin", func(*http.Request) error { return nil })}
}

func (h *host) GetPods() []*v1.Pod { return h.pods }

func (h *host) GetPodByName(namespace, name string) (*v1.Pod, bool) {
	for _, pod := range h.pods {
		if pod.Namespace == namespace && pod.Name == name {
			return pod, true
		}
	}
	return nil, false
}

// GetRunningPods returns the pods that a container runtime would report.
func (h *host) GetRunningPods(context.Context) ([]*v1.Pod, error) {
	var running []*v1.Pod
	for _, pod := range h.pods {
		if pod.Status.Phase != v1.PodRunning {
			continue
		}
		known := &kubecontainer.Pod{ID: pod.UID, Name: pod.Name, Namespace: pod.Namespace}
		for _, c := range pod.Spec.Containers {
			known.Containers = append(known.Containers, &kubecontainer.Container{Name: c.Name, Image: c.Image})
		}
		running = append(running, known.ToAPIPod())
	}
	return running, nil
}

func (h *host) GetAllocatedPods() ([]*v1.Pod, error) { return h.pods, nil }

func (h *host) GetAllocatedPodByName(namespace, name string) (*v1.Pod, error) {
	pod, _ := h.GetPodByName(namespace, name)
	return pod, nil
}

// GetKubeletContainerLogs writes the log of a container to stdout and stderr. Unlike a kubelet, it derives the name of
// the log file from the names of pod and container. It then reads the file, which has the CRI format, with the
// kubelet's own code.
func (h *host) GetKubeletContainerLogs(ctx context.Context, podFullName, container string, options *v1.PodLogOptions,
	stdout, stderr io.Writer) error {
	name, namespace, err := kubecontainer.ParsePodFullName(podFullName)
	if err != nil {
		return err
	}
	pod, found := h.GetPodByName(namespace, name)
	if !found {
		return fmt.Errorf("pod %q cannot be found - no logs available", name)
	}
	file := namespace + "_" + name + "_" + container
	if options.Previous {
		status, _ := podutil.GetContainerStatus(pod.Status.ContainerStatuses, container)
		if status.LastTerminationState.Terminated == nil {
			return fmt.Errorf("previous terminated container %q in pod %q not found", container, name)
		}
		file += ".previous"
	}
	if stdout != nil { // an empty write sends the response header before the first line
		if _, err := stdout.Write(nil); err != nil {
			return err
		}
	}
	return readLogs(ctx, filepath.Join(h.logs, file+".log"), file, options, stdout, stderr)
}

// runtime implements the part of a container runtime that the kubelet uses to follow logs. A container's ID is the
// name of its log file without ".log". If the ID ends with ".previous", the container has exited. All other containers
// are running.
type runtime struct{ internalapi.RuntimeService }

func (runtime) ContainerStatus(_ context.Context, id string, _ bool) (*runtimeapi.ContainerStatusResponse, error) {
	state := runtimeapi.ContainerState_CONTAINER_RUNNING
	if strings.HasSuffix(id, ".previous") {
		state = runtimeapi.ContainerState_CONTAINER_EXITED
	}
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{State: state}}, nil
}

func (h *host) ServeLogs(w http.ResponseWriter, req *http.Request) { h.nodeLogs.ServeHTTP(w, req) }

func (h *host) SyncLoopHealthCheck(*http.Request) error { return nil }

// The functions below look up containers in the same way as pkg/kubelet/kubelet_pods.go and kubelet.go do.

func (h *host) RunInContainer(ctx context.Context, podFullName string, _ types.UID, container string,
	cmd []string) ([]byte, error) {
	id, running := h.containers.id(podFullName, container)
	if !running {
		return nil, fmt.Errorf("container not found (%q)", container)
	}
	return h.containers.execSync(ctx, id, cmd)
}

func (h *host) CheckpointContainer(_ context.Context, _ types.UID, podFullName, container string,
	_ *runtimeapi.CheckpointContainerRequest) error {
	if _, running := h.containers.id(podFullName, container); !running {
		return fmt.Errorf("container %v not found", container)
	}
	return errors.New("rpc error: code = Unimplemented desc = method CheckpointContainer not implemented")
}

func (h *host) GetExec(_ context.Context, podFullName string, _ types.UID, container string, cmd []string,
	options execOptions) (*url.URL, error) {
	id, running := h.containers.id(podFullName, container)
	if !running {
		return nil, fmt.Errorf("container not found (%q)", container)
	}
	return h.containers.execURL(id, cmd, options)
}

func (h *host) GetAttach(_ context.Context, podFullName string, podUID types.UID, container string,
	options execOptions) (*url.URL, error) {
	id, running := h.containers.id(podFullName, container)
	if !running {
		return nil, fmt.Errorf("container %s not found in pod %s", container, podFullName)
	}
	name, namespace, err := kubecontainer.ParsePodFullName(podFullName)
	if err != nil {
		return nil, err
	}
	pod, found := h.GetPodByName(namespace, name)
	if !found || string(podUID) != "" && pod.UID != podUID {
		return nil, fmt.Errorf("pod %s not found", podFullName)
	}
	spec := kubecontainer.GetContainerSpec(pod, container)
	if spec == nil {
		return nil, fmt.Errorf("container %s not found in pod %s", container, podFullName)
	}
	options.TTY = spec.TTY
	return h.containers.attachURL(id, options)
}

func (h *host) GetPortForward(ctx context.Context, name, namespace string, _ types.UID,
	options forwardOptions) (*url.URL, error) {
	running, err := h.GetRunningPods(ctx)
	if err != nil {
		return nil, err
	}
	for _, pod := range running {
		if pod.Name == name && pod.Namespace == namespace {
			return h.containers.portForwardURL(namespace, name, options.Ports)
		}
	}
	return nil, fmt.Errorf("pod not found (%q)", kubecontainer.BuildPodFullName(name, namespace))
}

func (h *host) ListMetricDescriptors(context.Context) ([]*runtimeapi.MetricDescriptor, error) {
	return nil, nil
}

func (h *host) ListPodSandboxMetrics(context.Context) ([]*runtimeapi.PodSandboxMetrics, error) {
	return nil, nil
}
