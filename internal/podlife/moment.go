package podlife

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fauxlet/scenario"
)

// run is one run of a container, from its start to its end. The zero value means that the container has not run.
type run struct {
	number int32  // how many runs the container had before this run
	image  string // the image of the run; if it is empty, the image in the spec counts
	// started and finished are in whole seconds, as in the API. finished is zero while the container runs.
	started, finished time.Time
	// code, reason and message describe how the run ended.
	code            int32
	reason, message string
}

func (r *run) isRunning() bool { return !r.started.IsZero() && r.finished.IsZero() }

func (r *run) hasEnded() bool { return !r.finished.IsZero() }

// The method "exited" returns a copy of the run as it is after the container has exited by itself.
func (r run) exited(e *scenario.Exit, when time.Time) run {
	r.finished, r.code, r.reason, r.message = when, e.Code, e.Reason, e.Message
	if r.reason == "" {
		r.reason = reasonOf(r.code)
	} else if r.code == 0 {
		r.code = exitCodes[r.reason]
	}
	return r
}

// The method "stopped" returns a copy of the run as it is after SIGTERM or, if "killed" is set, after SIGKILL.
func (r run) stopped(s scenario.Stop, when time.Time, killed bool) run {
	r.finished, r.code = when, s.Code
	if killed {
		r.code = killedCode
	}
	r.reason = reasonOf(r.code)
	return r
}

const (
	completed = "Completed"
	crashLoop = "CrashLoopBackOff"
)

// exitCodes maps each reason of termination to its usual exit code.
var exitCodes = map[string]int32{completed: 0, "ContainerCannotRun": 128, "Error": 1, "OOMKilled": killedCode}

// killedCode is the exit code of a container that SIGKILL has ended.
const killedCode = 137

func reasonOf(code int32) string {
	if code == 0 {
		return completed
	}
	return "Error"
}

// moment is the state of a container at one time, as a kubelet gets it from the container runtime and the probes.
type moment struct {
	// The field "run" is the latest run, and "last" is the run before the latest.
	run, last run
	// waiting is the reason why the container waits, as in its status. It is empty for a container that runs or has
	// ended, and for a container that has not started because containers before it are not done.
	waiting string
	// backOff is the total length of the current wait in CrashLoopBackOff.
	backOff time.Duration
	// started and ready report whether the startup probe and the readiness probe have succeeded in the latest run.
	started, ready bool
}

// momentOf recovers the state of a container from its status. It is the inverse of moment.status.
func momentOf(s *v1.ContainerStatus, spec *v1.Container) moment {
	m := moment{last: runOf(s.LastTerminationState.Terminated, s.RestartCount-1)}
	switch {
	case s.State.Running != nil:
		m.run = run{number: s.RestartCount, started: s.State.Running.StartedAt.Time}
		m.started, m.ready = s.Started != nil && *s.Started, s.Ready
	case s.State.Terminated != nil:
		m.run = runOf(s.State.Terminated, s.RestartCount)
	case s.State.Waiting != nil && s.State.Waiting.Reason == crashLoop:
		m.waiting, m.backOff = crashLoop, backOffOf(s.State.Waiting.Message)
		m.run, m.last = runOf(s.LastTerminationState.Terminated, s.RestartCount), run{}
	}
	m.run.image = spec.Image
	if strings.HasPrefix(s.ContainerID, runtimeScheme) && s.Image != withTag(spec.Image) {
		m.run.image = s.Image
	}
	return m
}

// backOffPrefix is the beginning of the message of a container in CrashLoopBackOff. The length of the wait follows.
const backOffPrefix = "back-off "

// backOffOf recovers the length of a wait in CrashLoopBackOff from its message. It returns 0 if the message does not
// contain it.
func backOffOf(message string) time.Duration {
	text, _, _ := strings.Cut(strings.TrimPrefix(message, backOffPrefix), " ")
	wait, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return wait
}

// runOf recovers a run that has ended from its terminated state. If the terminated state has no times, because the
// kubelet lost the container, runOf returns the zero run.
func runOf(t *v1.ContainerStateTerminated, number int32) run {
	if t == nil || t.FinishedAt.IsZero() {
		return run{}
	}
	return run{number: number, started: t.StartedAt.Time, finished: t.FinishedAt.Time, code: t.ExitCode,
		reason: t.Reason, message: t.Message}
}

// status returns the container status that a kubelet reports. It shares unchanged parts with the pod.
// (kubelet: pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses; pkg/kubelet/prober, UpdatePodStatus)
func (m *moment) status(pod *v1.Pod, kind ContainerType, c *v1.Container) v1.ContainerStatus {
	s := v1.ContainerStatus{Name: c.Name, Image: c.Image, VolumeMounts: volumeMounts(c)}
	if !m.run.started.IsZero() {
		s.Image = withTag(cmp.Or(m.run.image, c.Image))
		s.ImageID = "sha256:" + hash(s.Image)
		s.ContainerID = containerID(pod, c.Name, m.run.number)
		s.RestartCount = m.run.number
		s.Resources, s.AllocatedResources = &c.Resources, c.Resources.Requests
	}
	last, waits := &m.last, m.waiting != ""
	if waits && kind == Sidecar && m.run.hasEnded() && m.run.code == 0 {
		waits = false // a kubelet reports a sidecar with exit code 0 as Completed, even during its back-off
	}
	switch {
	case waits:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: m.waiting, Message: m.waitingMessage(pod, c)}
		last = &m.run
	case m.run.isRunning():
		s.State.Running = &v1.ContainerStateRunning{StartedAt: metav1.NewTime(m.run.started)}
		s.Ready = m.ready && (kind == MainContainer || kind == Sidecar)
	case m.run.hasEnded():
		s.State.Terminated = m.run.terminated(s.ContainerID)
		s.Ready = kind == InitContainer && m.run.code == 0
	default:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
		if len(pod.Spec.InitContainers) > 0 {
			s.State.Waiting.Reason = "PodInitializing"
		}
	}
	if last.hasEnded() {
		s.LastTerminationState.Terminated = last.terminated(containerID(pod, c.Name, last.number))
	}
	if kind != EphemeralContainer { // ephemeral containers have no probes
		s.Started = ptr.To(m.run.isRunning() && m.started)
	}
	return s
}

func (r *run) terminated(id string) *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{ExitCode: r.code, Reason: r.reason, Message: r.message, ContainerID: id,
		StartedAt: metav1.NewTime(r.started), FinishedAt: metav1.NewTime(r.finished)}
}

// waitingMessage returns the kubelet's message for a waiting container. Where a kubelet passes on a message of the
// container runtime, waitingMessage returns a short substitute. (kubelet: pkg/kubelet/images/image_manager.go;
// pkg/kubelet/kuberuntime, doBackOff)
func (m *moment) waitingMessage(pod *v1.Pod, c *v1.Container) string {
	notFound := fmt.Sprintf("failed to pull image %q: not found", withTag(c.Image))
	switch m.waiting {
	case crashLoop:
		return fmt.Sprintf(backOffPrefix+"%s restarting failed container=%s pod=%s_%s(%s)",
			m.backOff, c.Name, pod.Name, pod.Namespace, pod.UID)
	case "ErrImagePull":
		return notFound
	case "ImagePullBackOff":
		return fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", withTag(c.Image), notFound)
	case "ErrImageNeverPull":
		return fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
	case "InvalidImageName":
		return fmt.Sprintf("Failed to apply default image tag %[1]q: couldn't parse image name %[1]q: invalid "+
			"reference format", c.Image)
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

// withTag returns the name of the image that a kubelet pulls: with the tag latest if the name has neither tag nor
// digest. (kubelet: pkg/kubelet/images, applyDefaultImageTag)
func withTag(image string) string {
	if image == "" || strings.ContainsAny(image[strings.LastIndexByte(image, '/')+1:], ":@") {
		return image
	}
	return image + ":latest"
}

// runtimeScheme is the prefix of container IDs in statuses. On nodes with containerd the prefix is containerd://.
const runtimeScheme = "fauxlet://"

// containerID returns an id that depends only on the run, so that it is the same in every process.
func containerID(pod *v1.Pod, container string, number int32) string {
	return runtimeScheme + hash(string(pod.UID)+"/"+container+"/"+strconv.Itoa(int(number)))
}

func hash(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:])
}

// restarts reports whether a container starts again after a run that ended with the given exit code. It assumes that
// the pod is not stopping. (k8s.io/kubernetes/pkg/api/v1/pod, ContainerShouldRestart)
func restarts(pod *v1.Pod, kind ContainerType, c *v1.Container, code int32) bool {
	if kind == EphemeralContainer || kind == InitContainer && code == 0 {
		return false
	}
	policy := pod.Spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = v1.RestartPolicy(*c.RestartPolicy)
		if slices.ContainsFunc(c.RestartPolicyRules,
			func(r v1.ContainerRestartRule) bool { return ruleMatches(r, code) }) {
			return true // a rule that matches restarts the container, whatever its action is
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

func ruleMatches(rule v1.ContainerRestartRule, code int32) bool {
	if rule.ExitCodes == nil {
		return false
	}
	switch rule.ExitCodes.Operator {
	case v1.ContainerRestartRuleOnExitCodesOpIn:
		return slices.Contains(rule.ExitCodes.Values, code)
	case v1.ContainerRestartRuleOnExitCodesOpNotIn:
		return !slices.Contains(rule.ExitCodes.Values, code)
	}
	return false
}
