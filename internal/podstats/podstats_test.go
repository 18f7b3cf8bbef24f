package podstats_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fauxlet/internal/pods"
	"fauxlet/internal/podstats"
	"fauxlet/scenario"
)

var since = time.Date(2026, 3, 1, 10, 0, 7, 0, time.UTC)

// running returns a pod whose containers have been running since the given times.
func running(name string, started ...time.Time) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-of-" + name),
			CreationTimestamp: metav1.NewTime(since)},
		Status: v1.PodStatus{Phase: v1.PodRunning},
	}
	for i, at := range started {
		name := fmt.Sprint("c", i)
		pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: name, Image: "image"})
		status := v1.ContainerStatus{Name: name,
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(at)}}}
		if at.IsZero() {
			status.State = v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status)
	}
	return pod
}

// The type "node" is the list of a node's pods, with the defaults and the status that package pods adds.
type node []scenario.Pod

func newNode(t testing.TB, all ...scenario.Pod) node {
	t.Helper()
	store, err := pods.NewStore(all...)
	if err != nil {
		t.Fatal(err)
	}
	return store.Described()
}

func nodeOf(t testing.TB, list ...*v1.Pod) node {
	t.Helper()
	var all []scenario.Pod
	for _, pod := range list {
		all = append(all, scenario.Pod{Pod: pod})
	}
	return newNode(t, all...)
}

func (n node) measure(machine podstats.Machine, now time.Time) *podstats.Measurement {
	return podstats.Measure(n, machine, now, nil)
}

func find(t testing.TB, m *podstats.Measurement, kind podstats.Kind, pod, name string) *podstats.Cgroup {
	t.Helper()
	for i := range m.Cgroups {
		if c := &m.Cgroups[i]; c.Kind == kind && (c.Pod == nil || c.Pod.Name == pod) && c.Name == name {
			return c
		}
	}
	t.Fatalf("no cgroup of kind %d, pod %q, container %q", kind, pod, name)
	return nil
}

// TestMeasureRateIsGrowth checks that the CPU rate equals the growth of the CPU counter, and that no counter
// decreases.
func TestMeasureRateIsGrowth(t *testing.T) {
	pod := running("a", since, since)
	pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("3")}
	node := nodeOf(t, pod, running("b", since))
	seconds := uint64(podstats.Interval / time.Second)
	last := node.measure(podstats.Machine{}, since.Add(podstats.Interval))
	low, high := ^uint64(0), uint64(0)
	for i := range 500 {
		m := node.measure(podstats.Machine{}, since.Add(time.Duration(i+2)*podstats.Interval))
		for j := range m.Cgroups {
			c, before := &m.Cgroups[j], &last.Cgroups[j]
			if c.CPU.Total != before.CPU.Total+c.CPU.Rate*seconds {
				t.Fatalf("%s at %v: CPU total %d, before it %d, with a rate of %d", c.Path, m.Time, c.CPU.Total,
					before.CPU.Total, c.CPU.Rate)
			}
			if c.CPU.User+c.CPU.System != c.CPU.Total {
				t.Fatalf("%s: CPU user %d + system %d is not the total %d", c.Path, c.CPU.User, c.CPU.System,
					c.CPU.Total)
			}
			notBelow(t, c.Path, reflect.ValueOf(*c), reflect.ValueOf(*before))
		}
		rate := find(t, m, podstats.KindContainer, "a", "c0").CPU.Rate
		low, high = min(low, rate), max(high, rate)
		last = m
	}
	if low < 1.6e9 || high > 2.9e9 || high-low < 0.9e9 {
		t.Errorf("a container that requests 3 CPUs uses from %d to %d nanocores, want from 3/4 to 5/4 of 2.25 CPUs",
			low, high)
	}
}

// notBelow checks that no counter has decreased since an earlier measurement.
func notBelow(t *testing.T, path string, now, before reflect.Value) {
	t.Helper()
	counters := map[string][]string{
		"CPU":    {"Total", "User", "System", "Periods", "Throttled", "ThrottledTime", "PressureSome", "PressureFull"},
		"Memory": {"Faults", "MajorFaults", "Peak"},
		"IO":     {"ReadBytes", "WriteBytes", "Reads", "Writes"},
	}
	for group, names := range counters {
		for _, name := range names {
			a, b := now.FieldByName(group).FieldByName(name).Uint(), before.FieldByName(group).FieldByName(name).Uint()
			if a < b {
				t.Fatalf("%s: the counter %s.%s has decreased from %d to %d", path, group, name, b, a)
			}
		}
	}
	for i := range now.FieldByName("Network").Len() {
		a, b := now.FieldByName("Network").Index(i), before.FieldByName("Network").Index(i)
		for _, name := range []string{"RxBytes", "RxPackets", "TxBytes", "TxPackets"} {
			if a.FieldByName(name).Uint() < b.FieldByName(name).Uint() {
				t.Fatalf("%s: the counter Network.%s has decreased", path, name)
			}
		}
	}
}

// TestMeasureAddsUp checks that the usage of a cgroup is the sum of the usage of its children, and that all usage
// fits on the machine.
func TestMeasureAddsUp(t *testing.T) {
	var list []*v1.Pod
	for i := range 300 {
		list = append(list, running(fmt.Sprint("pod-", i), since, since.Add(time.Minute)))
	}
	list[0].Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1"),
		v1.ResourceMemory: resource.MustParse("64Mi")}
	m := nodeOf(t, list...).measure(podstats.Machine{Node: "n"}, since.Add(time.Hour))
	var podCPU, containerCPU, podMemory, containerMemory, all uint64
	for i := range m.Cgroups {
		c := &m.Cgroups[i]
		switch c.Kind {
		case podstats.KindPod:
			podCPU += c.CPU.Total
			podMemory += c.Memory.WorkingSet
		case podstats.KindContainer, podstats.KindSandbox:
			containerCPU += c.CPU.Total
			containerMemory += c.Memory.WorkingSet
		case podstats.KindPods:
			all = c.CPU.Total
		}
		memory := &c.Memory
		if memory.WorkingSet > memory.Usage || memory.Usage > c.MemoryLimit || memory.RSS > memory.WorkingSet ||
			memory.WorkingSet+memory.InactiveFile != memory.Usage {
			t.Errorf("%s: memory %+v exceeds the limit %d", c.Path, *memory, c.MemoryLimit)
		}
	}
	if podCPU != containerCPU || podCPU != all || podMemory != containerMemory {
		t.Errorf("pods use %d ns and %d bytes, their containers %d and %d, all together %d ns", podCPU, podMemory,
			containerCPU, containerMemory, all)
	}
	node := &m.Cgroups[0]
	if node.Kind != podstats.KindNode || node.CPU.Total <= all || node.Memory.WorkingSet <= podMemory {
		t.Errorf("the node uses %d ns and %d bytes, its pods %d and %d", node.CPU.Total, node.Memory.WorkingSet, all,
			podMemory)
	}
	if node.CPU.Rate > uint64(m.Machine.Cores)*1e9 || node.Memory.Usage > m.Machine.Memory ||
		node.MemoryLimit != m.Machine.Memory {
		t.Errorf("%d nanocores and %d bytes exceed the machine %+v", node.CPU.Rate, node.Memory.Usage, m.Machine)
	}
	for _, fs := range node.Filesystems {
		if fs.Used > fs.Capacity || fs.InodesUsed > fs.Inodes {
			t.Errorf("more of the disk is used than exists: %+v", fs)
		}
	}
}

// TestMeasureIsDeterministic checks that the same pods give the same numbers within one interval.
func TestMeasureIsDeterministic(t *testing.T) {
	at := since.Add(26 * time.Hour).Truncate(podstats.Interval)
	machine := podstats.Machine{Node: "node-1"}
	first := nodeOf(t, running("a", since), running("b", since)).measure(machine, at)
	again := nodeOf(t, running("a", since), running("b", since)).measure(machine, at.Add(podstats.Interval-1))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	if !first.Time.Equal(at) {
		t.Errorf("measured at %v, want %v", first.Time, at)
	}
	other := nodeOf(t, running("a", since), running("b", since)).measure(machine, at.Add(podstats.Interval))
	if cmp.Equal(first.Cgroups, other.Cgroups) {
		t.Error("the measurement of the next interval is the same")
	}
}

func TestMeasureRunningContainersOnly(t *testing.T) {
	pending := running("pending", time.Time{})
	pending.Status.Phase = v1.PodPending
	m := nodeOf(t,
		running("a", since, time.Time{}, since.Add(time.Hour)), // one container runs, one waits, one starts later
		pending,
		running("late", since.Add(time.Hour)),
	).measure(podstats.Machine{}, since.Add(time.Minute))
	var got []string
	for _, c := range m.Cgroups {
		if c.Pod != nil {
			got = append(got, fmt.Sprintf("%d %s %s", c.Kind, c.Pod.Name, c.Name))
		}
	}
	want := []string{fmt.Sprint(int(podstats.KindPod), " a "), fmt.Sprint(int(podstats.KindSandbox), " a "),
		fmt.Sprint(int(podstats.KindContainer), " a c0")}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestMeasureNewContainer checks that the rate of a new container covers only the time for which the container has
// run, and that its counter starts at 0.
func TestMeasureNewContainer(t *testing.T) {
	at := since.Truncate(podstats.Interval).Add(time.Hour)
	node := nodeOf(t, running("a", at.Add(-2*time.Second)))
	c := find(t, node.measure(podstats.Machine{}, at), podstats.KindContainer, "a", "c0")
	if c.CPU.Total == 0 || c.CPU.Total > 2*63*1e6 || c.CPU.Rate*2 != c.CPU.Total {
		t.Errorf("after 2 s the CPU total is %d ns, with a rate of %d", c.CPU.Total, c.CPU.Rate)
	}
	// A restart resets the counter to 0.
	if restarted := find(t, nodeOf(t, running("a", since)).measure(podstats.Machine{}, at), podstats.KindContainer, "a",
		"c0"); restarted.CPU.Total <= c.CPU.Total {
		t.Errorf("after an hour: %d ns, after 2 s: %d", restarted.CPU.Total, c.CPU.Total)
	}
}

func TestMeasurePaths(t *testing.T) {
	burstable, guaranteed := running("b", since), running("g", since)
	burstable.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}
	guaranteed.Status.QOSClass = v1.PodQOSGuaranteed
	besteffort := running("e", since)
	for i, pod := range []*v1.Pod{burstable, guaranteed, besteffort} {
		pod.UID = types.UID(fmt.Sprint("0-1-", i))
		pod.Status.ContainerStatuses[0].ContainerID = "containerd://" + strings.Repeat(fmt.Sprint(i), 64)
	}
	node := nodeOf(t, burstable, guaranteed, besteffort)
	for name, test := range map[string]struct {
		machine    podstats.Machine
		all        string
		containers []string // the beginning of each path, up to the id
	}{
		"cgroupfs": {podstats.Machine{}, "/kubepods",
			[]string{"/kubepods/burstable/pod0-1-0/", "/kubepods/pod0-1-1/", "/kubepods/besteffort/pod0-1-2/"}},
		"systemd": {podstats.Machine{Systemd: true}, "/kubepods.slice", []string{
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0_1_0.slice/cri-containerd-",
			"/kubepods.slice/kubepods-pod0_1_1.slice/cri-containerd-",
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod0_1_2.slice/cri-containerd-",
		}},
		"a root, cgroupfs": {podstats.Machine{CgroupRoot: "/a/b"}, "/a/b/kubepods",
			[]string{"/a/b/kubepods/burstable/pod0-1-0/", "/a/b/kubepods/pod0-1-1/",
				"/a/b/kubepods/besteffort/pod0-1-2/"}},
		"a root, systemd": {podstats.Machine{Systemd: true, CgroupRoot: "a"}, "/a.slice/a-kubepods.slice", []string{
			"/a.slice/a-kubepods.slice/a-kubepods-burstable.slice/a-kubepods-burstable-pod0_1_0.slice/cri-containerd-",
			"/a.slice/a-kubepods.slice/a-kubepods-pod0_1_1.slice/cri-containerd-",
			"/a.slice/a-kubepods.slice/a-kubepods-besteffort.slice/a-kubepods-besteffort-pod0_1_2.slice/" +
				"cri-containerd-",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := node.measure(test.machine, since.Add(time.Hour))
			if got := find(t, m, podstats.KindPods, "", "").Path; got != test.all {
				t.Errorf("all pods: %s, want %s", got, test.all)
			}
			for i, pod := range []string{"b", "g", "e"} {
				want := test.containers[i] + strings.Repeat(fmt.Sprint(i), 64)
				if test.machine.Systemd {
					want += ".scope"
				}
				if got := find(t, m, podstats.KindContainer, pod, "c0").Path; got != want {
					t.Errorf("cgroups %s, want %s", got, want)
				}
			}
		})
	}
}

func TestMeasureNodeWithoutPods(t *testing.T) {
	node := nodeOf(t)
	first, next := node.measure(podstats.Machine{}, since), node.measure(podstats.Machine{}, since.Add(time.Minute))
	if a, b := first.Cgroups[0].CPU.Total, next.Cgroups[0].CPU.Total; a == 0 || b <= a {
		t.Errorf("the CPU total of the node is %d ns, and a minute later %d", a, b)
	}
	if !first.Machine.Booted.Equal(next.Machine.Booted) {
		t.Errorf("the boot time has changed from %v to %v", first.Machine.Booted, next.Machine.Booted)
	}
}

// TestMeasureDescribedUsage checks that the average usage equals the usage in the container's description.
func TestMeasureDescribedUsage(t *testing.T) {
	given := scenario.Usage{CPU: resource.MustParse("250m"), Memory: resource.MustParse("64Mi")}
	node := newNode(t, scenario.Pod{Pod: running("a", since),
		Containers: map[string]scenario.Container{"c0": {Usage: given}}})
	const day = 24 * time.Hour
	c := find(t, node.measure(podstats.Machine{}, since.Add(day)), podstats.KindContainer, "a", "c0")
	if got, want := c.CPU.Total, uint64(day/4); got < want/100*99 || got > want/100*101 {
		t.Errorf("CPU total of a day is %d ns, want about %d", got, want)
	}
	if got := c.Memory.WorkingSet; got < 60<<20 || got > 68<<20 {
		t.Errorf("the average memory is %d bytes, want about 64Mi", got)
	}
}
