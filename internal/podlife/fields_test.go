package podlife_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

// statusAfter returns the status of a pod after a number of seconds, as YAML.
func statusAfter(t testing.TB, pod *v1.Pod, containers map[string]scenario.Container, after int) string {
	t.Helper()
	l, err := podlife.New(pod, containers, settings, birth)
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := l.At(birth.Add(time.Duration(after) * time.Second))
	text, err := yaml.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFields compares each field of a status with the status that a kubelet v1.37.2 reported for the same pod. The
// expected statuses come from a hollow node of kubemark.
func TestFields(t *testing.T) {
	pod := newPod(v1.RestartPolicyAlways, "web", func(pod *v1.Pod) {
		pod.Generation = 3
		pod.Status.QOSClass = v1.PodQOSBurstable
		pod.Status.Conditions = []v1.PodCondition{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue,
			Reason: "EvictionByEvictionAPI"}}
		c := &pod.Spec.Containers[0]
		c.Image = "nginx"
		c.VolumeMounts = []v1.VolumeMount{{Name: "d", MountPath: "/data", ReadOnly: true}, {Name: "e", MountPath: "/e"}}
		c.Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m"),
			v1.ResourceEphemeralStorage: resource.MustParse("1Gi")}
		c.Resources.Limits = v1.ResourceList{v1.ResourceMemory: resource.MustParse("128Mi")}
	})
	const start = `allocatedResources:
  cpu: 100m
  ephemeral-storage: 1Gi
conditions:
- lastProbeTime: null
  lastTransitionTime: null
  reason: EvictionByEvictionAPI
  status: "True"
  type: DisruptionTarget
- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  observedGeneration: 3
  status: "True"
  type: PodReadyToStartContainers
- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  observedGeneration: 3
  status: "True"
  type: Initialized
`
	want := start + `- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  observedGeneration: 3
  status: "True"
  type: Ready
- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  observedGeneration: 3
  status: "True"
  type: ContainersReady
- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  observedGeneration: 3
  status: "True"
  type: PodScheduled
containerStatuses:
- allocatedResources:
    cpu: 100m
    ephemeral-storage: 1Gi
  containerID: fauxlet://dcc7cd5a15bc9273203a4d3387c7f507f31397c34e231c70e4f97e6eedefd1ee
  image: nginx:latest
  imageID: sha256:28327d2d1d8875964c0e44e38f1f7e86c329f8be9e1bb5857c7f9a0ea4f6707b
  lastState: {}
  name: web
  ready: true
  resources:
    limits:
      memory: 128Mi
    requests:
      cpu: 100m
      ephemeral-storage: 1Gi
  restartCount: 0
  started: true
  state:
    running:
      startedAt: "2026-11-23T10:00:00Z"
  volumeMounts:
  - mountPath: /data
    name: d
    readOnly: true
    recursiveReadOnly: Disabled
  - mountPath: /e
    name: e
hostIP: 192.0.2.1
hostIPs:
- ip: 192.0.2.1
- ip: 2001:db8::1
observedGeneration: 3
phase: Running
podIP: 10.0.0.7
podIPs:
- ip: 10.0.0.7
qosClass: Burstable
resources:
  limits:
    memory: 128Mi
  requests:
    cpu: 100m
startTime: "2026-11-23T10:00:00Z"
`
	if diff := cmp.Diff(want, statusAfter(t, pod, nil, 0)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	waits := start + `- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  message: 'containers with unready status: [web]'
  observedGeneration: 3
  reason: ContainersNotReady
  status: "False"
  type: Ready
- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  message: 'containers with unready status: [web]'
  observedGeneration: 3
  reason: ContainersNotReady
  status: "False"
  type: ContainersReady
- lastProbeTime: null
  lastTransitionTime: "2026-11-23T10:00:00Z"
  observedGeneration: 3
  status: "True"
  type: PodScheduled
containerStatuses:
- image: nginx
  imageID: ""
  lastState: {}
  name: web
  ready: false
  restartCount: 0
  started: false
  state:
    waiting:
      reason: ContainerCreating
  volumeMounts:
  - mountPath: /data
    name: d
    readOnly: true
    recursiveReadOnly: Disabled
  - mountPath: /e
    name: e
hostIP: 192.0.2.1
hostIPs:
- ip: 192.0.2.1
- ip: 2001:db8::1
observedGeneration: 3
phase: Pending
qosClass: Burstable
resources:
  limits:
    memory: 128Mi
  requests:
    cpu: 100m
    ephemeral-storage: 1Gi
startTime: "2026-11-23T10:00:00Z"
`
	if diff := cmp.Diff(waits,
		statusAfter(t, pod, map[string]scenario.Container{"web": {StartAfter: seconds(1)}}, 0)); diff != "" {
		t.Errorf("while the container waits: -want +got:\n%s", diff)
	}
}

// TestReasonsAndMessages compares reasons and messages with the reasons and messages that a kubelet reports.
func TestReasonsAndMessages(t *testing.T) {
	type containers = map[string]scenario.Container
	for _, test := range []struct {
		name       string
		pod        *v1.Pod
		containers containers
		after      int
		want       []string
	}{
		{name: "back-off", pod: newPod(v1.RestartPolicyAlways, "c"), containers: containers{"c": {Exits: exits(1, 7)}},
			after: 20, want: []string{
				"message: back-off 20s restarting failed container=c pod=p_default(1)", "reason: CrashLoopBackOff"}},
		{name: "longest-back-off", pod: newPod(v1.RestartPolicyAlways, "c"),
			containers: containers{"c": {State: "CrashLoopBackOff"}}, want: []string{
				"message: back-off 5m0s restarting failed container=c pod=p_default(1)", "restartCount: 7",
				"image: example.com/c:1"}},
		{name: "no-image", pod: newPod(v1.RestartPolicyAlways, "c"),
			containers: containers{"c": {State: "ImagePullBackOff"}}, want: []string{
				`message: 'Back-off pulling image "example.com/c:1": ErrImagePull:`, "podIP: 10.0.0.7"}},
		{name: "image-never-pulled", pod: newPod(v1.RestartPolicyAlways, "c"),
			containers: containers{"c": {State: "ErrImageNeverPull"}}, want: []string{
				`message: Container image "example.com/c:1" is not present with pull policy of Never`}},
		{name: "no-image-name", pod: newPod(v1.RestartPolicyAlways, "c"),
			containers: containers{"c": {State: "InvalidImageName"}},
			want:       []string{`Failed to apply default image tag "example.com/c:1"`}},
		{name: "init", pod: newPod(v1.RestartPolicyAlways, "c", withInit("i j")),
			containers: containers{"i": {State: "Running"}}, want: []string{
				"message: 'containers with incomplete status: [i j]'", "reason: ContainersNotInitialized",
				"reason: PodInitializing"}},
		{name: "sidecar-before-the-others", pod: newPod(v1.RestartPolicyAlways, "b a", withSidecar("s")),
			containers: containers{"s": {ReadyAfter: ptr.To(seconds(9))}, "a": {ReadyAfter: ptr.To(seconds(9))},
				"b": {ReadyAfter: ptr.To(seconds(9))}}, want: []string{
				"message: 'containers with unready status: [s b a]'"}},
		{name: "gate", pod: newPod(v1.RestartPolicyAlways, "c", func(pod *v1.Pod) {
			pod.Spec.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "a"}, {ConditionType: "b"}}
			pod.Status.Conditions = []v1.PodCondition{{Type: "b", Status: v1.ConditionFalse}}
		}), want: []string{
			`corresponding condition of pod readiness gate "a" does not exist., the`,
			`status of pod readiness gate "b" is not "True", but False`, "reason: ReadinessGatesNotReady"}},
		{name: "succeeded", pod: newPod(v1.RestartPolicyNever, "c"),
			containers: containers{"c": {Exits: &scenario.Exit{Message: "all done"}}},
			want: []string{
				"reason: PodCompleted", "message: pod sandbox is not ready", "reason: PodSandboxNotReady",
				"message: all done", "reason: Completed"}},
		{name: "failed", pod: newPod(v1.RestartPolicyNever, "c"), containers: containers{"c": {Exits: exits(0, 1)}},
			want: []string{"reason: PodFailed", "reason: Error"}},
		{name: "deadline", pod: newPod(v1.RestartPolicyNever, "c", deadline(5)), after: 5, want: []string{
			"message: Pod was active on the node longer than the specified deadline", "reason: DeadlineExceeded",
			"reason: PodFailed"}},
		{name: "lost", pod: newPod(v1.RestartPolicyNever, "c", deadline(5)),
			containers: containers{"c": {StartAfter: seconds(9)}}, after: 5,
			want: []string{
				"message: The container could not be located when the pod was terminated",
				"reason: ContainerStatusUnknown",
				"finishedAt: null"}},
		{name: "restarts-all", pod: newPod(v1.RestartPolicyNever, "c", func(pod *v1.Pod) {
			pod.Spec.Containers[0].RestartPolicyRules = []v1.ContainerRestartRule{
				{Action: v1.ContainerRestartRuleActionRestartAllContainers}}
		}), want: []string{"type: AllContainersRestarting"}},
		{name: "host-network", pod: newPod(v1.RestartPolicyNever, "c",
			func(pod *v1.Pod) { pod.Spec.HostNetwork = true }),
			containers: containers{"c": {StartAfter: seconds(9)}}, want: []string{
				"podIP: 192.0.2.1\npodIPs:\n- ip: 192.0.2.1\n- ip: 2001:db8::1"}},
		{name: "what-others-said-stays", pod: newPod(v1.RestartPolicyNever, "c", func(pod *v1.Pod) {
			pod.Status.Phase, pod.Status.Reason = v1.PodRunning, "NodeLost"
			pod.Status.ResourceClaimStatuses = []v1.PodResourceClaimStatus{{Name: "gpu"}}
			pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue,
				LastTransitionTime: metav1.NewTime(birth.Add(-time.Hour))}}
		}), want: []string{"reason: NodeLost", "resourceClaimStatuses:\n- name: gpu",
			`lastTransitionTime: "2026-11-23T09:00:00Z"`}},
		{name: "changed-condition", pod: newPod(v1.RestartPolicyNever, "c", func(pod *v1.Pod) {
			pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse,
				LastTransitionTime: metav1.NewTime(birth.Add(-time.Hour))}}
		}), want: []string{
			`lastTransitionTime: "2026-11-23T10:00:00Z" observedGeneration: 1 status: "True" type: PodScheduled`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := statusAfter(t, test.pod, test.containers, test.after)
			folded := strings.Join(strings.Fields(got), " ")
			for _, want := range test.want {
				if !strings.Contains(got, want) && !strings.Contains(folded, want) {
					t.Errorf("the status lacks %s:\n%s", want, got)
				}
			}
		})
	}
}

// TestMaxBackOff checks that crashLoopBackOff.maxContainerRestartPeriod also limits the first wait.
func TestMaxBackOff(t *testing.T) {
	brief := settings
	brief.MaxBackOff = 3 * time.Second
	l, err := podlife.New(newPod(v1.RestartPolicyAlways, "c"), map[string]scenario.Container{"c": {Exits: exits(0, 1)}},
		brief, birth)
	if err != nil {
		t.Fatal(err)
	}
	status, _, _ := l.At(birth.Add(time.Minute)) // the first restart comes after 1 s, then one every 3 s
	if got, want := inWords(status), "Running SI c:CrashLoopBackOff#20<Error(1)"; got != want {
		t.Errorf("status %s, want %s", got, want)
	}
}

// TestMemory checks that a Life needs at most 4 KiB, because a process may simulate a hundred thousand pods.
func TestMemory(t *testing.T) {
	const many = 2000
	specs := make([]*v1.Pod, many)
	for i := range specs {
		specs[i] = newPod(v1.RestartPolicyAlways, "c", withSidecar("s"))
	}
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	lives, before := make([]*podlife.Life, many), inUse()
	for i, pod := range specs {
		var err error
		if lives[i], err = podlife.New(pod, nil, settings, birth); err != nil {
			t.Fatal(err)
		}
		lives[i].At(birth.Add(time.Hour))
	}
	if each := int64(inUse()-before) / many; each > 4<<10 {
		t.Errorf("a life has %d bytes, more than 4 KiB", each)
	} else {
		t.Logf("a life has %d bytes", each)
	}
	runtime.KeepAlive(lives)
	runtime.KeepAlive(specs)
}

// BenchmarkAt measures At for a pod that does not change.
func BenchmarkAt(b *testing.B) {
	l, err := podlife.New(newPod(v1.RestartPolicyAlways, "c"), nil, settings, birth)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.At(birth)
	}
}

// BenchmarkDays measures At for a crashing container after ten days, in which it has restarted about 2900 times.
func BenchmarkDays(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		l, err := podlife.New(newPod(v1.RestartPolicyAlways, "c"),
			map[string]scenario.Container{"c": {Exits: exits(1, 1)}}, settings, birth)
		if err != nil {
			b.Fatal(err)
		}
		l.At(birth.Add(240 * time.Hour))
	}
}

// TestObservedGenerationWhileStopping checks observedGeneration of a pod that is already stopping when it is deleted:
// the pod does not observe the deletion until all containers have stopped. A second Life, which continues from the
// status of the stopping pod, must report the same.
func TestObservedGenerationWhileStopping(t *testing.T) {
	containers := map[string]scenario.Container{"c": {Stops: scenario.Stop{After: seconds(60)}}}
	pod := newPod(v1.RestartPolicyAlways, "c", deadline(4))
	l, err := podlife.New(pod, containers, settings, birth)
	if err != nil {
		t.Fatal(err)
	}
	pod = pod.DeepCopy()
	pod.Status, _, _ = l.At(birth.Add(5 * time.Second))
	deletedAt(6, 1)(pod)
	l.Update(pod, containers, birth.Add(6*time.Second))
	again, err := podlife.New(pod, containers, settings, birth.Add(6*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*podlife.Life{l, again} {
		for _, want := range []struct {
			at         float64
			generation int64
		}{{at: 7, generation: 1}, {at: 40, generation: 2}} {
			status, _, _ := l.At(birth.Add(seconds(want.at).Duration))
			if status.ObservedGeneration != want.generation ||
				status.Conditions[0].ObservedGeneration != want.generation {
				t.Errorf("after %v seconds: observedGeneration is %d, and %d in a condition; want %d", want.at,
					status.ObservedGeneration, status.Conditions[0].ObservedGeneration, want.generation)
			}
		}
	}
}
