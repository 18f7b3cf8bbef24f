package node

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

// living is a pod that a node of ours has.
type living struct {
	member *member
	uid    types.UID
	life   *podlife.Life
	clock  onward
	// shown is the version that life knows of what the apiserver shows, of a static pod its mirror; nil before that is there.
	shown *v1.Pod
	// status is what life has told last of a static pod.
	status     v1.PodStatus
	containers map[string]scenario.Container
	// ipam is where its addresses are from; nil: it holds none.
	ipam *ipam
	ips  []string
}

// work attends to pods until there is nothing more to do.
func (f *Fleet) work(ctx context.Context) {
	for {
		key, quit := f.queue.Get()
		if quit || ctx.Err() != nil {
			return
		}
		if err := f.sync(ctx, key); err != nil && ctx.Err() == nil {
			f.logger.Warn("a pod could not be attended to, and is tried again", zap.Stringer("pod", key), zap.Error(err))
			f.queue.AddRateLimited(key)
		} else {
			f.queue.Forget(key)
		}
		f.queue.Done(key)
	}
}

// sync makes what a node serves, and what the apiserver shows, of one pod what it is now. It is never called twice at once
// for one pod.
func (f *Fleet) sync(ctx context.Context, key types.NamespacedName) error {
	shown := f.getPod(key) // as the apiserver has it
	pod, m := shown, (*member)(nil)
	f.mu.RLock()
	l := f.lives[key]
	if m = f.static[key]; m != nil {
		pod = m.static[key]
	} else if pod != nil {
		m = f.members[pod.Spec.NodeName]
	}
	f.mu.RUnlock()

	if l != nil && (pod == nil || l.uid != pod.UID || l.member != m) {
		f.drop(key, l)
		l = nil
	}
	if pod == nil || m == nil {
		return nil
	}
	var mirrorErr error // which the static pod does not wait for
	if pod != shown {
		shown, mirrorErr = m.mirror(ctx, pod, shown)
	} else if isMirror(pod) {
		return f.delete(ctx, pod) // of a static pod that is no more
	}

	now := time.Now()
	if l == nil {
		var err error
		if l, err = m.begin(pod, shown, now); err != nil {
			return err
		}
		f.mu.Lock()
		f.lives[key] = l
		f.mu.Unlock()
	}
	now = l.clock.read(now, now.Sub(f.made))
	if shown != nil && shown != l.shown { // which begin knew
		l.life.Update(l.known(pod, shown), now)
		l.shown = shown
	}

	status, next, gone := l.life.At(now)
	if pod != shown {
		l.status = status
	}
	if hasEnded(&status) {
		l.release()
	}
	told := shown != nil && equality.Semantic.DeepEqual(&shown.Status, &status)
	served := pod
	if pod != shown || !told {
		served = &v1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec, Status: status}
	} // or else the apiserver's object itself: ten thousand copies are many
	if err := m.spec.Pods.Put(scenario.Pod{Pod: served, Containers: l.containers}); err != nil {
		return err
	}
	if !next.IsZero() {
		f.queue.AddAfter(key, max(0, next.Sub(now)))
	}
	if shown == nil {
		return mirrorErr
	}
	if !told {
		if err := f.patch(ctx, shown, &status); err != nil {
			return err
		}
	}
	if gone {
		return f.delete(ctx, shown)
	}
	return nil
}

// begin begins the life of a pod, or goes on with it where what the apiserver shows says how far it is.
func (m *member) begin(pod, shown *v1.Pod, now time.Time) (*living, error) {
	l := &living{member: m, uid: pod.UID, shown: shown}
	if m.fleet.options.Containers != nil {
		l.containers = m.fleet.options.Containers(pod)
	}
	settings := podlife.Settings{HostIPs: m.ips(), PodIPs: m.ips()}
	if period := m.spec.Config.Kubelet.CrashLoopBackOff.MaxContainerRestartPeriod; period != nil {
		settings.MaxBackOff = period.Duration
	}
	switch {
	case pod.Spec.HostNetwork:
	case shown != nil && hasEnded(&shown.Status):
		settings.PodIPs = ipsOf(shown)
	default:
		var err error
		if l.ipam, err = m.addressesOfPods(); err != nil {
			return nil, err
		}
		if shown != nil {
			l.ips = ipsOf(shown)
		}
		if len(l.ips) == 0 || !l.ipam.keep(l.uid, l.ips) {
			if l.ips, err = l.ipam.take(l.uid); err != nil {
				return nil, err
			}
		}
		settings.PodIPs = l.ips
	}
	lived := pod
	if shown != nil && shown != pod {
		l.status = shown.Status
		lived = l.known(pod, shown)
	}
	var err error
	if l.life, err = podlife.New(lived, l.containers, settings, now); err != nil {
		l.release()
	}
	return l, err
}

// known is what life is to know of a pod. Of a mirror that is what others have said of it: what becomes of a static pod is not
// the apiserver's to say.
func (l *living) known(pod, shown *v1.Pod) *v1.Pod {
	if pod == shown {
		return pod
	}
	known := *pod
	known.Status = l.status
	known.Status.Conditions = nil
	for _, c := range shown.Status.Conditions {
		if !podlife.IsKubeletCondition(c.Type) {
			known.Status.Conditions = append(known.Status.Conditions, c)
		}
	}
	for _, c := range l.status.Conditions {
		if podlife.IsKubeletCondition(c.Type) {
			known.Status.Conditions = append(known.Status.Conditions, c)
		}
	}
	return &known
}

// release gives the addresses back, which whoever has ended does not need.
func (l *living) release() {
	if l.ipam != nil {
		l.ipam.release(l.uid, l.ips)
		l.ipam = nil
	}
}

// hasEnded says whether nothing of a pod runs, and nothing will.
func hasEnded(s *v1.PodStatus) bool {
	runs := func(c v1.ContainerStatus) bool { return c.State.Running != nil }
	return (s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed) && !slices.ContainsFunc(s.InitContainerStatuses, runs) &&
		!slices.ContainsFunc(s.ContainerStatuses, runs) && !slices.ContainsFunc(s.EphemeralContainerStatuses, runs)
}

func ipsOf(pod *v1.Pod) []string {
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return ips
}

// uidOf is the uid by which the node knows a pod: of a mirror, that of its static pod.
func uidOf(pod *v1.Pod) types.UID {
	if uid, is := pod.Annotations[annotationMirror]; is {
		return types.UID(uid)
	}
	return pod.UID
}

// drop forgets a pod that is no more, or not a node of ours' any more.
func (f *Fleet) drop(key types.NamespacedName, l *living) {
	f.mu.Lock()
	delete(f.lives, key)
	f.mu.Unlock()
	l.member.spec.Pods.Remove(key.Namespace, key.Name, l.uid)
	l.release()
}

// patch reports a status. A pod that is gone, or another by now, is the watch's affair.
// (kubelet: pkg/util/pod, PatchPodStatus; a kubelet reads the pod before, here what was watched is compared)
func (f *Fleet) patch(ctx context.Context, shown *v1.Pod, status *v1.PodStatus) error {
	before, err := json.Marshal(v1.Pod{Status: shown.Status})
	if err != nil {
		return err
	}
	after, err := json.Marshal(v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: shown.UID}, Status: *status})
	if err != nil {
		return err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Pod{})
	if err != nil {
		return err
	}
	_, err = f.client.CoreV1().Pods(shown.Namespace).Patch(ctx, shown.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return unlessGone(err)
}

// delete deletes a pod of which nothing is left. (kubelet: status manager, syncPod)
func (f *Fleet) delete(ctx context.Context, pod *v1.Pod) error {
	now := int64(0)
	return unlessGone(f.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	}))
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
