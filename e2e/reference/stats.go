//go:build !before137

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/cadvisor/lib/cache/memory"
	cadvisorapi "github.com/google/cadvisor/lib/model"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	kubelettypes "k8s.io/kubelet/pkg/types"
	"k8s.io/kubernetes/pkg/features"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	serverstats "k8s.io/kubernetes/pkg/kubelet/server/stats"
	"k8s.io/kubernetes/pkg/kubelet/stats"
	"k8s.io/kubernetes/pkg/volume"

	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// measured is the kubelet's own stats provider. Its cAdvisor and its container runtime are fakes that return the
// numbers that fauxlet generates.
type measured struct {
	*stats.Provider
	cgroups
	store *pods.Store
}

// measure starts the stats provider. It writes log files to a folder, because the kubelet reads their sizes from
// disk. The returned function removes the folder.
func (m *measured) measure(ctx context.Context, list []*v1.Pod, node string,
	config *kubeletconfig.KubeletConfiguration, analyzer serverstats.ResourceAnalyzer) (func(), error) {
	var specs []scenario.Pod
	for _, pod := range list {
		specs = append(specs, scenario.Pod{Pod: pod})
	}
	store, err := pods.NewStoreWith(shell.Executor{}, specs...)
	if err != nil {
		return nil, err
	}
	m.store = store
	machine := podstats.Machine{
		Node: node, Systemd: config.CgroupDriver == "systemd", CgroupRoot: config.CgroupRoot,
		Pressure: cadvisor.IsPsiEnabled(klog.FromContext(ctx)),
	}
	m.cgroups = cgroups{measure: func() *podstats.Measurement {
		return podstats.Measure(store.Described(), machine,
			time.Now(), nil)
	}}
	files, err := os.MkdirTemp("", "reference-")
	if err != nil {
		return nil, err
	}
	if err := m.writeFiles(files); err != nil {
		_ = os.RemoveAll(files)
		return nil, err
	}
	etcHosts := func(types.UID) string { return filepath.Join(files, "hosts") }
	m.Provider = stats.NewCRIStatsProvider(m.cgroups, analyzer, nil, containers{cgroups: m.cgroups},
		images{cgroups: m.cgroups},
		stats.NewHostStatsProvider(kubecontainer.RealOS{}, etcHosts, files),
		utilfeature.DefaultFeatureGate.Enabled(features.PodAndContainerStatsFromCRI), true, nil)
	return func() { _ = os.RemoveAll(files) }, nil
}

// writeFiles writes log files and /etc/hosts files that have the generated sizes.
func (m *measured) writeFiles(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "hosts"), make([]byte, 4096), 0o644); err != nil {
		return err
	}
	for _, c := range m.cgroups.measure().Cgroups {
		if c.Kind != podstats.KindContainer {
			continue
		}
		logs := filepath.Join(dir, c.Pod.Namespace+"_"+c.Pod.Name+"_"+string(c.Pod.UID), c.Name)
		if err := os.MkdirAll(logs, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(logs, "0.log"), make([]byte, c.Logs.Used), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (m *measured) GetRequestedContainersInfo(name string,
	options cadvisorapi.RequestOptions) (map[string]*cadvisorapi.ContainerInfo, error) {
	return m.cgroups.GetRequestedContainersInfo(name, options)
}

func (m *measured) GetVersionInfo() (*cadvisorapi.VersionInfo, error) { return m.VersionInfo() }

func (m *measured) GetCachedMachineInfo() (*cadvisorapi.MachineInfo, error) {
	return m.MachineInfo(klog.Background())
}

func (m *measured) GetNode(context.Context) (*v1.Node, error) {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: m.cgroups.measure().Machine.Node}}, nil
}

func (m *measured) GetNodeConfig() cm.NodeConfig {
	return cm.NodeConfig{KubeletCgroupsName: m.path(podstats.KindKubelet),
		RuntimeCgroupsName: m.path(podstats.KindRuntime)}
}

func (m *measured) GetPodCgroupRoot() string { return m.path(podstats.KindPods) }

func (m *measured) path(kind podstats.Kind) string {
	for _, c := range m.cgroups.measure().Cgroups {
		if c.Kind == kind {
			return c.Path
		}
	}
	return ""
}

func (m *measured) GetPodByCgroupfs(path string) (*v1.Pod, bool) {
	for _, c := range m.cgroups.measure().Cgroups {
		if c.Kind == podstats.KindPod && c.Path == path {
			return c.Pod, true
		}
	}
	return nil, false
}

func (m *measured) ListVolumesForPod(types.UID) (map[string]volume.Volume, bool) { return nil, false }

func (m *measured) ListBlockVolumesForPod(types.UID) (map[string]volume.BlockVolume, bool) {
	return nil, false
}

// cgroups implements the kubelet's interface to cAdvisor.
type cgroups struct{ measure func() *podstats.Measurement }

func (cgroups) Start() error { return nil }

func (c cgroups) ContainerInfoV2(name string,
	options cadvisorapi.RequestOptions) (map[string]cadvisorapi.ContainerInfo, error) {
	infos := map[string]cadvisorapi.ContainerInfo{}
	m := c.measure()
	for i := range m.Cgroups {
		if path := m.Cgroups[i].Path; path == name || options.Recursive && name == "/" {
			infos[path] = containerInfo(m, &m.Cgroups[i])
		}
	}
	if len(infos) == 0 {
		return nil, fmt.Errorf("%s: %w", name, memory.ErrDataNotFound)
	}
	return infos, nil
}

func (c cgroups) GetRequestedContainersInfo(name string,
	options cadvisorapi.RequestOptions) (map[string]*cadvisorapi.ContainerInfo, error) {
	infos, err := c.ContainerInfoV2(name, options)
	all := map[string]*cadvisorapi.ContainerInfo{}
	for path, info := range infos {
		all[path] = &info
	}
	return all, err
}

// MachineInfo returns no timestamp, because the kubelet's cached copy has none. (kubelet: NewMainKubelet)
func (c cgroups) MachineInfo(klog.Logger) (*cadvisorapi.MachineInfo, error) {
	m := c.measure().Machine
	return &cadvisorapi.MachineInfo{
		NumCores: m.Cores, NumPhysicalCores: (m.Cores + 1) / 2, NumSockets: 1, MemoryCapacity: m.Memory,
		MachineID: m.ID, SystemUUID: m.SystemUUID, BootID: m.BootID,
	}, nil
}

func (c cgroups) VersionInfo() (*cadvisorapi.VersionInfo, error) {
	m := c.measure().Machine
	return &cadvisorapi.VersionInfo{KernelVersion: m.Kernel, ContainerOsVersion: m.OS}, nil
}

func (c cgroups) RootFsInfo() (cadvisorapi.FsInfo, error) {
	m := c.measure()
	for _, fs := range m.Cgroups[0].Filesystems {
		if fs.Device == podstats.PartitionDevice {
			free := fs.Inodes - fs.InodesUsed
			return cadvisorapi.FsInfo{
				Timestamp: m.Time, Device: fs.Device, Mountpoint: "/", Capacity: fs.Capacity,
				Available: fs.Capacity - fs.Used,
				Usage:     fs.Used,
				Inodes:    &fs.Inodes, InodesFree: &free,
			}, nil
		}
	}
	return cadvisorapi.FsInfo{}, fmt.Errorf("the node has no device %s", podstats.PartitionDevice)
}

func (c cgroups) ImagesFsInfo(context.Context) (cadvisorapi.FsInfo, error) { return c.RootFsInfo() }

func (c cgroups) ContainerFsInfo(context.Context) (cadvisorapi.FsInfo, error) { return c.RootFsInfo() }

func (c cgroups) GetDirFsInfo(string) (cadvisorapi.FsInfo, error) { return c.RootFsInfo() }

// containerInfo describes a cgroup in the way cAdvisor does on a host with cgroup v2.
func containerInfo(m *podstats.Measurement, c *podstats.Cgroup) cadvisorapi.ContainerInfo {
	info := cadvisorapi.ContainerInfo{
		ContainerReference: cadvisorapi.ContainerReference{Name: c.Path},
		Spec: cadvisorapi.ContainerSpec{
			CreationTime: c.Created,
			HasCpu:       true, Cpu: cadvisorapi.CpuSpec{Limit: c.Shares, Quota: c.Quota, Period: c.Period},
			HasMemory: true, Memory: cadvisorapi.MemorySpec{Limit: c.MemoryLimit, SwapLimit: c.SwapLimit},
			HasProcesses: true, HasNetwork: c.Network != nil, HasFilesystem: c.Filesystems != nil, HasDiskIo: true,
			Image: c.Image,
		},
	}
	if c.ID != "" {
		info.Id, info.Aliases, info.Namespace = c.ID, []string{c.ID, c.Path}, "k8s.io"
		info.Spec.Labels = map[string]string{
			kubelettypes.KubernetesPodNameLabel: c.Pod.Name, kubelettypes.KubernetesPodNamespaceLabel: c.Pod.Namespace,
			kubelettypes.KubernetesPodUIDLabel: string(c.Pod.UID),
		}
		if c.Name != "" {
			info.Spec.Labels[kubelettypes.KubernetesContainerNameLabel] = c.Name
		}
	}
	pressure := cadvisorapi.PSIStats{Some: cadvisorapi.PSIData{Total: c.CPU.PressureSome},
		Full: cadvisorapi.PSIData{Total: c.CPU.PressureFull}}
	faults := cadvisorapi.MemoryStatsMemoryData{Pgfault: c.Memory.Faults, Pgmajfault: c.Memory.MajorFaults}
	sample := &cadvisorapi.ContainerStats{
		Timestamp: m.Time,
		Cpu: &cadvisorapi.CpuStats{
			Usage: cadvisorapi.CpuUsage{Total: c.CPU.Total, User: c.CPU.User, System: c.CPU.System},
			CFS: cadvisorapi.CpuCFS{Periods: c.CPU.Periods, ThrottledPeriods: c.CPU.Throttled,
				ThrottledTime: c.CPU.ThrottledTime},
			PSI: pressure,
		},
		CpuInst: &cadvisorapi.CpuInstStats{Usage: cadvisorapi.CpuInstUsage{Total: c.CPU.Rate}},
		Memory: &cadvisorapi.MemoryStats{
			Usage: c.Memory.Usage, MaxUsage: c.Memory.Peak, Cache: c.Memory.ActiveFile + c.Memory.InactiveFile,
			RSS:        c.Memory.RSS,
			MappedFile: c.Memory.Mapped, WorkingSet: c.Memory.WorkingSet, KernelUsage: c.Memory.Kernel,
			TotalActiveFile: c.Memory.ActiveFile, TotalInactiveFile: c.Memory.InactiveFile, ContainerData: faults,
			HierarchicalData: faults,
		},
		Network: &cadvisorapi.NetworkStats{},
		DiskIo:  &cadvisorapi.DiskIoStats{},
		Processes: &cadvisorapi.ProcessStats{
			ProcessCount: c.Processes.Processes, FdCount: c.Processes.Files, SocketCount: c.Processes.Sockets,
			ThreadsCurrent: c.Processes.Threads,
		},
	}
	if c.Kind == podstats.KindNode || c.ID != "" {
		sample.Processes.Ulimits = []cadvisorapi.UlimitSpec{{Name: "max_open_files", SoftLimit: 1 << 20,
			HardLimit: 1 << 20}}
	}
	if c.IO != (podstats.IO{}) {
		disk := func(read, write uint64) []cadvisorapi.PerDiskStats {
			return []cadvisorapi.PerDiskStats{{Device: podstats.DiskDevice, Major: podstats.DiskMajor,
				Stats: map[string]uint64{"Read": read, "Write": write}}}
		}
		sample.DiskIo.IoServiceBytes, sample.DiskIo.IoServiced = disk(c.IO.ReadBytes, c.IO.WriteBytes),
			disk(c.IO.Reads, c.IO.Writes)
	}
	for _, n := range c.Network {
		sample.Network.Interfaces = append(sample.Network.Interfaces, cadvisorapi.InterfaceStats{
			Name: n.Name, RxBytes: n.RxBytes, RxPackets: n.RxPackets, RxErrors: n.RxErrors, RxDropped: n.RxDropped,
			TxBytes: n.TxBytes, TxPackets: n.TxPackets, TxErrors: n.TxErrors, TxDropped: n.TxDropped,
		})
	}
	for _, f := range c.Filesystems {
		sample.Filesystem = append(sample.Filesystem, cadvisorapi.FsStats{
			Device: f.Device, Limit: f.Capacity, Usage: f.Used, Available: f.Capacity - f.Used, HasInodes: true,
			Inodes: f.Inodes, InodesFree: f.Inodes - f.InodesUsed,
			ReadsCompleted: f.Reads, SectorsRead: f.ReadSectors, ReadTime: f.ReadTime,
			WritesCompleted: f.Writes, SectorsWritten: f.WrittenSectors, WriteTime: f.WriteTime,
			IoTime: f.ReadTime + f.WriteTime, WeightedIoTime: f.ReadTime + f.WriteTime,
		})
	}
	info.Stats = []*cadvisorapi.ContainerStats{sample}
	return info
}

// containers implements the part of a container runtime that the stats provider uses.
type containers struct {
	internalapi.RuntimeService
	cgroups
}

func (r containers) ListContainers(context.Context, *runtimeapi.ContainerFilter) ([]*runtimeapi.Container, error) {
	var all []*runtimeapi.Container
	m, sandbox := r.measure(), ""
	for _, c := range m.Cgroups {
		switch c.Kind {
		case podstats.KindSandbox: // the list has each sandbox before its containers
			sandbox = c.ID
		case podstats.KindContainer:
			all = append(all, &runtimeapi.Container{
				Id: c.ID, PodSandboxId: sandbox, Metadata: &runtimeapi.ContainerMetadata{Name: c.Name},
				State: runtimeapi.ContainerState_CONTAINER_RUNNING, CreatedAt: c.Created.UnixNano(),
				Labels: containerInfo(m, &c).Spec.Labels,
			})
		}
	}
	return all, nil
}

// ListPodSandbox returns sandboxes with the IDs that cAdvisor uses.
func (r containers) ListPodSandbox(context.Context, *runtimeapi.PodSandboxFilter) ([]*runtimeapi.PodSandbox, error) {
	var all []*runtimeapi.PodSandbox
	for _, c := range r.measure().Cgroups {
		if c.Kind == podstats.KindSandbox {
			all = append(all, &runtimeapi.PodSandbox{
				Id: c.ID, Metadata: &runtimeapi.PodSandboxMetadata{Name: c.Pod.Name, Namespace: c.Pod.Namespace,
					Uid: string(c.Pod.UID)},
				State: runtimeapi.PodSandboxState_SANDBOX_READY, CreatedAt: c.Created.UnixNano(),
			})
		}
	}
	return all, nil
}

// ListContainerStats returns only disk usage. The kubelet takes all other statistics from cAdvisor.
func (r containers) ListContainerStats(context.Context,
	*runtimeapi.ContainerStatsFilter) ([]*runtimeapi.ContainerStats, error) {
	var all []*runtimeapi.ContainerStats
	m := r.measure()
	for _, c := range m.Cgroups {
		if c.Kind == podstats.KindContainer {
			all = append(all, &runtimeapi.ContainerStats{
				Attributes: &runtimeapi.ContainerAttributes{Id: c.ID,
					Metadata: &runtimeapi.ContainerMetadata{Name: c.Name}},
				WritableLayer: &runtimeapi.FilesystemUsage{
					Timestamp: m.Time.UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
					UsedBytes:  &runtimeapi.UInt64Value{Value: c.Rootfs.Used},
					InodesUsed: &runtimeapi.UInt64Value{Value: c.Rootfs.Inodes},
				},
			})
		}
	}
	return all, nil
}

// images implements the image service of a container runtime for the stats provider.
type images struct {
	internalapi.ImageManagerService
	cgroups
}

func (i images) ImageFsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	m := i.measure()
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: []*runtimeapi.FilesystemUsage{{
		Timestamp: m.Time.UnixNano(), FsId: &runtimeapi.FilesystemIdentifier{Mountpoint: "/"},
		UsedBytes:  &runtimeapi.UInt64Value{Value: m.Images.Used},
		InodesUsed: &runtimeapi.UInt64Value{Value: m.Images.Inodes},
	}}}, nil
}
