//go:build before137

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cadvisorapi "github.com/google/cadvisor/info/v1"
	cadvisorv2 "github.com/google/cadvisor/info/v2"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	serverstats "k8s.io/kubernetes/pkg/kubelet/server/stats"
	"k8s.io/kubernetes/pkg/volume"
	utilexec "k8s.io/utils/exec"
)

// fauxlet's packages, which run commands and generate statistics for the version in e2e/go.mod, do not compile with the
// libraries of older minors. The types below replace them: a shell that knows a few commands, and statistics that are
// all zero. The recordings do not contain the answers that depend on them.

// store has the pods whose containers are running.
type store []*v1.Pod

// IsRunning reports whether a container is running.
func (s store) IsRunning(namespace, name, container string) bool {
	return slices.ContainsFunc(s, func(pod *v1.Pod) bool {
		return pod.Namespace == namespace && pod.Name == name &&
			slices.ContainsFunc(pod.Status.ContainerStatuses, func(c v1.ContainerStatus) bool {
				return c.Name == container && c.State.Running != nil
			})
	})
}

func (c *streamed) Exec(context.Context, string, []string, io.Reader, io.WriteCloser, io.WriteCloser, bool,
	<-chan terminalSize) error {
	return nil
}

func (c *streamed) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool,
	<-chan terminalSize) error {
	return nil
}

func (c *streamed) PortForward(context.Context, string, int32, io.ReadWriteCloser) error { return nil }

// execSync runs the commands echo, true and false. All other commands do not exist.
func (c *streamed) execSync(_ context.Context, _ string, cmd []string) ([]byte, error) {
	code := 127
	switch cmd[0] {
	case "echo":
		return []byte(strings.Join(cmd[1:], " ") + "\n"), nil
	case "true":
		return nil, nil
	case "false":
		code = 1
	}
	return nil, utilexec.CodeExitError{
		Err: fmt.Errorf("command '%s' exited with %d: ", strings.Join(cmd, " "), code), Code: code}
}

// measured implements the part of the kubelet that provides statistics.
type measured struct {
	node  string
	store store
}

func (m *measured) measure(_ context.Context, list []*v1.Pod, node string, _ *kubeletconfig.KubeletConfiguration,
	_ serverstats.ResourceAnalyzer) (func(), error) {
	m.node, m.store = node, list
	return func() {}, nil
}

func (m *measured) object() *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.node}} }

func (m *measured) GetVersionInfo() (*cadvisorapi.VersionInfo, error) {
	return &cadvisorapi.VersionInfo{}, nil
}

func (m *measured) GetCachedMachineInfo() (*cadvisorapi.MachineInfo, error) {
	return &cadvisorapi.MachineInfo{NumCores: 1}, nil
}

func (m *measured) GetRequestedContainersInfo(string, cadvisorv2.RequestOptions) (map[string]*cadvisorapi.ContainerInfo,
	error) {
	return map[string]*cadvisorapi.ContainerInfo{}, nil
}

func (m *measured) ListPodStats(context.Context) ([]statsapi.PodStats, error) {
	return []statsapi.PodStats{}, nil
}

func (m *measured) ListPodCPUAndMemoryStats(context.Context) ([]statsapi.PodStats, error) {
	return []statsapi.PodStats{}, nil
}

func (m *measured) ListPodStatsAndUpdateCPUNanoCoreUsage(context.Context) ([]statsapi.PodStats, error) {
	return []statsapi.PodStats{}, nil
}

func (m *measured) ImageFsStats(context.Context) (*statsapi.FsStats, *statsapi.FsStats, error) {
	return &statsapi.FsStats{}, &statsapi.FsStats{}, nil
}

func (m *measured) RootFsStats() (*statsapi.FsStats, error) { return &statsapi.FsStats{}, nil }

func (m *measured) RlimitStats() (*statsapi.RlimitStats, error) { return &statsapi.RlimitStats{}, nil }

func (m *measured) GetCgroupStats(string, bool) (*statsapi.ContainerStats, *statsapi.NetworkStats, error) {
	return zeroStats(), &statsapi.NetworkStats{}, nil
}

func (m *measured) GetCgroupCPUAndMemoryStats(string, bool) (*statsapi.ContainerStats, error) {
	return zeroStats(), nil
}

func zeroStats() *statsapi.ContainerStats {
	now, zero := metav1.NewTime(time.Now()), uint64(0)
	return &statsapi.ContainerStats{StartTime: now, CPU: &statsapi.CPUStats{Time: now, UsageCoreNanoSeconds: &zero},
		Memory: &statsapi.MemoryStats{Time: now, WorkingSetBytes: &zero}}
}

func (m *measured) GetNodeConfig() cm.NodeConfig { return cm.NodeConfig{} }

func (m *measured) GetPodCgroupRoot() string { return "/kubepods" }

func (m *measured) GetPodByCgroupfs(string) (*v1.Pod, bool) { return nil, false }

func (m *measured) ListVolumesForPod(types.UID) (map[string]volume.Volume, bool) { return nil, false }

func (m *measured) ListBlockVolumesForPod(types.UID) (map[string]volume.BlockVolume, bool) {
	return nil, false
}
