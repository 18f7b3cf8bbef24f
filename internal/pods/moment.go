package pods

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// ContainerType is what a container is to its pod.
type ContainerType uint8

// The types of containers. An InitContainer that is restarted always is a Sidecar, and no InitContainer.
const (
	MainContainer ContainerType = iota
	InitContainer
	Sidecar
	EphemeralContainer
)

// Containers are those of a pod's spec: first the init containers and sidecars, then the main ones, then the ephemeral.
func Containers(pod *v1.Pod) iter.Seq2[ContainerType, *v1.Container] {
	return func(yield func(ContainerType, *v1.Container) bool) {
		for i := range pod.Spec.InitContainers {
			c, kind := &pod.Spec.InitContainers[i], InitContainer
			if isSidecar(c) {
				kind = Sidecar
			}
			if !yield(kind, c) {
				return
			}
		}
		for i := range pod.Spec.Containers {
			if !yield(MainContainer, &pod.Spec.Containers[i]) {
				return
			}
		}
		for i := range pod.Spec.EphemeralContainers {
			if !yield(EphemeralContainer, (*v1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)) {
				return
			}
		}
	}
}

func isSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// Run is a container from its start to its end. The zero Run is none.
type Run struct {
	// Number is how many there were before.
	Number int32
	// Image is that of the container's spec when the run began; empty where it is the same now.
	Image string
	// Started and Finished are in whole seconds, as the API has them. Finished is zero while it runs.
	Started, Finished time.Time
	// Code, Reason and Message are those of its end.
	Code            int32
	Reason, Message string
}

// Runs says whether it has begun and not ended.
func (r *Run) Runs() bool { return !r.Started.IsZero() && r.Finished.IsZero() }

// Over says whether it has begun and ended.
func (r *Run) Over() bool { return !r.Finished.IsZero() }

// Moment is what a container is at one moment: all that a kubelet knows of it, from its runtime and its probes.
type Moment struct {
	// Run is its last run, Last the one before.
	Run, Last Run
	// Waiting is the reason for which it waits. Empty, it runs, has ended, or waits for nothing but its turn.
	Waiting string
	// BackOff is how long it waits in all, where Waiting is CrashLoopBackOff.
	BackOff time.Duration
	// Started is whether its startup probe has succeeded in this run, and Ready whether its readiness probe has.
	Started, Ready bool
}

const crashLoop = "CrashLoopBackOff"

// MomentOf is what the status of a container tells, as Status made it. (of a container of this spec)
func MomentOf(s *v1.ContainerStatus, spec *v1.Container) Moment {
	m := Moment{Last: runOf(s.LastTerminationState.Terminated, s.RestartCount-1)}
	switch {
	case s.State.Running != nil:
		m.Run = Run{Number: s.RestartCount, Started: s.State.Running.StartedAt.Time}
		m.Started, m.Ready = s.Started != nil && *s.Started, s.Ready
	case s.State.Terminated != nil:
		m.Run = runOf(s.State.Terminated, s.RestartCount)
	case s.State.Waiting != nil && s.State.Waiting.Reason == crashLoop:
		m.Waiting = crashLoop
		m.Run, m.Last = runOf(s.LastTerminationState.Terminated, s.RestartCount), Run{}
	}
	m.Run.Image = spec.Image
	if strings.HasPrefix(s.ContainerID, runtimeScheme) && s.Image != withTag(spec.Image) {
		m.Run.Image = s.Image
	}
	return m
}

// runOf is none of a container that was lost.
func runOf(t *v1.ContainerStateTerminated, number int32) Run {
	if t == nil || t.FinishedAt.IsZero() {
		return Run{}
	}
	return Run{Number: number, Started: t.StartedAt.Time, Finished: t.FinishedAt.Time, Code: t.ExitCode, Reason: t.Reason, Message: t.Message}
}

// status is what a kubelet tells of the container. It shares what does not change with the pod.
// (kubelet: pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses; pkg/kubelet/prober, UpdatePodStatus)
func (m *Moment) status(pod *v1.Pod, kind ContainerType, c *v1.Container) v1.ContainerStatus {
	s := v1.ContainerStatus{Name: c.Name, Image: c.Image, VolumeMounts: volumeMounts(c)}
	if !m.Run.Started.IsZero() {
		s.Image = withTag(cmp.Or(m.Run.Image, c.Image))
		s.ImageID = "sha256:" + hash(s.Image)
		s.ContainerID = containerID(pod, c.Name, m.Run.Number)
		s.RestartCount = m.Run.Number
		s.Resources, s.AllocatedResources = &c.Resources, c.Resources.Requests
	}
	last, waits := &m.Last, m.Waiting != ""
	if waits && kind == Sidecar && m.Run.Over() && m.Run.Code == 0 {
		waits = false // as if it were an init container, which is not started again after that
	}
	switch {
	case waits:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: m.Waiting, Message: m.waitingMessage(pod, c)}
		last = &m.Run
	case m.Run.Runs():
		s.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(m.Run.Started)}
		s.Ready = m.Ready && (kind == MainContainer || kind == Sidecar)
	case m.Run.Over():
		s.State.Terminated = m.Run.terminated(s.ContainerID)
		s.Ready = kind == InitContainer && m.Run.Code == 0
	default:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
		if len(pod.Spec.InitContainers) > 0 {
			s.State.Waiting.Reason = "PodInitializing"
		}
	}
	if last.Over() {
		s.LastTerminationState.Terminated = last.terminated(containerID(pod, c.Name, last.Number))
	}
	if kind != EphemeralContainer { // which have no probes, and are not looked at
		s.Started = ptr.To(m.Run.Runs() && m.Started)
	}
	return s
}

func (r *Run) terminated(id string) *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{
		ExitCode: r.Code, Reason: r.Reason, Message: r.Message, ContainerID: id,
		StartedAt: metav1.NewTime(r.Started), FinishedAt: metav1.NewTime(r.Finished),
	}
}

// waitingMessage is the kubelet's, or, where that is the runtime's, a short one.
// (kubelet: pkg/kubelet/images/image_manager.go; pkg/kubelet/kuberuntime, doBackOff)
func (m *Moment) waitingMessage(pod *v1.Pod, c *v1.Container) string {
	notFound := fmt.Sprintf("failed to pull image %q: not found", withTag(c.Image))
	switch m.Waiting {
	case crashLoop:
		return fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", m.BackOff, c.Name, pod.Name, pod.Namespace, pod.UID)
	case "ErrImagePull":
		return notFound
	case "ImagePullBackOff":
		return fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", withTag(c.Image), notFound)
	case "ErrImageNeverPull":
		return fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
	case "InvalidImageName":
		return fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: invalid reference format", c.Image, c.Image)
	case "ImageInspectError":
		return fmt.Sprintf("Failed to inspect image %q: not found", c.Image)
	}
	return ""
}

func volumeMounts(c *v1.Container) []v1.VolumeMountStatus {
	if len(c.VolumeMounts) == 0 {
		return nil
	}
	mounts := make([]v1.VolumeMountStatus, len(c.VolumeMounts))
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		mounts[i] = v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == v1.RecursiveReadOnlyEnabled {
				mode = v1.RecursiveReadOnlyEnabled
			}
			mounts[i].RecursiveReadOnly = &mode
		}
	}
	return mounts
}

// withTag is the image that a kubelet asks for. (kubelet: pkg/kubelet/images, applyDefaultImageTag)
func withTag(image string) string {
	if image == "" || strings.ContainsAny(image[strings.LastIndexByte(image, '/')+1:], ":@") {
		return image
	}
	return image + ":latest"
}

// runtimeScheme begins the ids of containers, as containerd:// does.
const runtimeScheme = "fauxlet://"

// containerID is always the same for the same run.
func containerID(pod *v1.Pod, container string, number int32) string {
	return runtimeScheme + hash(string(pod.UID)+"/"+container+"/"+strconv.Itoa(int(number)))
}

func hash(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:])
}

// Restarts says whether a container of a pod that is not to end is started again after a run that ended with the code.
// (k8s.io/kubernetes/pkg/api/v1/pod, ContainerShouldRestart)
func Restarts(pod *v1.Pod, kind ContainerType, c *v1.Container, code int32) bool {
	if kind == EphemeralContainer || kind == InitContainer && code == 0 {
		return false
	}
	policy := pod.Spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = v1.RestartPolicy(*c.RestartPolicy)
		if slices.ContainsFunc(c.RestartPolicyRules, func(r v1.ContainerRestartRule) bool { return r.ExitCodes != nil && matches(r.ExitCodes, code) }) {
			return true // each action there is restarts it
		}
	}
	switch policy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

func matches(codes *v1.ContainerRestartRuleOnExitCodes, code int32) bool {
	switch codes.Operator {
	case v1.ContainerRestartRuleOnExitCodesOpIn:
		return slices.Contains(codes.Values, code)
	case v1.ContainerRestartRuleOnExitCodesOpNotIn:
		return !slices.Contains(codes.Values, code)
	}
	return false
}
