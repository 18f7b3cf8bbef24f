package main

import (
	"context"

	cadvisorapi "github.com/google/cadvisor/lib/model"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/volume"
)

// noStats is a host that measures nothing.
type noStats struct{}

func (noStats) ListPodStats(context.Context) ([]statsapi.PodStats, error) { return nil, errNotHere }

func (noStats) ListPodCPUAndMemoryStats(context.Context) ([]statsapi.PodStats, error) {
	return nil, errNotHere
}

func (noStats) ListPodStatsAndUpdateCPUNanoCoreUsage(context.Context) ([]statsapi.PodStats, error) {
	return nil, errNotHere
}

func (noStats) ImageFsStats(context.Context) (*statsapi.FsStats, *statsapi.FsStats, error) {
	return nil, nil, errNotHere
}

func (noStats) GetCgroupStats(context.Context, string, bool) (*statsapi.ContainerStats, *statsapi.NetworkStats, error) {
	return nil, nil, errNotHere
}

func (noStats) GetCgroupCPUAndMemoryStats(string, bool) (*statsapi.ContainerStats, error) {
	return nil, errNotHere
}

func (noStats) RootFsStats() (*statsapi.FsStats, error) { return nil, errNotHere }

func (noStats) GetRequestedContainersInfo(string, cadvisorapi.RequestOptions) (map[string]*cadvisorapi.ContainerInfo, error) {
	return nil, errNotHere
}

func (noStats) GetNode(context.Context) (*v1.Node, error) { return nil, errNotHere }

func (noStats) GetNodeConfig() cm.NodeConfig { return cm.NodeConfig{} }

func (noStats) ListVolumesForPod(types.UID) (map[string]volume.Volume, bool) { return nil, false }

func (noStats) ListBlockVolumesForPod(types.UID) (map[string]volume.BlockVolume, bool) {
	return nil, false
}

func (noStats) RlimitStats() (*statsapi.RlimitStats, error) { return nil, errNotHere }

func (noStats) GetPodCgroupRoot() string { return "" }

func (noStats) GetPodByCgroupfs(string) (*v1.Pod, bool) { return nil, false }
