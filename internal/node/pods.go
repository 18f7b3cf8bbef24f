package node

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"time"

	"go.uber.org/zap"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"fauxlet/internal/compact"
	"fauxlet/internal/podlife"
	"fauxlet/scenario"
)

// podEntry is a pod on a node of the Fleet.
type podEntry struct {
	member *member
	uid    types.UID
	// life simulates the pod. It is nil while the apiserver shows a status that does not change by itself; see sync.
	life  *podlife.Life
	clock monotonicClock
	// shown is the pod as the apiserver showed it when the field "life" was last updated. For a static pod it is the
	// mirror pod, or nil if no mirror pod exists yet.
	shown      *compact.Pod
	status     *v1.PodStatus // the latest status, only for a static pod
	containers map[string]scenario.Container
	// ipam is the allocator from which the pod has its IPs. It is nil if the pod has no allocated IPs.
	ipam *ipam
	ips  []string
}

// The method "work" synchronizes queued pods until the queue is shut down.
func (f *Fleet) work(ctx context.Context) {
	for {
		key, quit := f.queue.Get()
		if quit || ctx.Err() != nil {
			return
		}
		if err := f.sync(ctx, key); err != nil && ctx.Err() == nil {
			f.options.Logger.Warn("cannot synchronize the pod; retrying", zap.Stringer("pod", key), zap.Error(err))
			f.queue.AddRateLimited(key)
		} else {
			f.queue.Forget(key)
		}
		f.queue.Done(key)
	}
}

// The method "sync" updates a pod in the store and in the apiserver. The queue prevents that two calls for the same pod
// run at the same time.
func (f *Fleet) sync(ctx context.Context, key types.NamespacedName) error {
	cached := f.getPod(key) // the apiserver's version
	shown := cached.Object()
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
	ctx = m.context(ctx)
	var mirrorErr error // sync returns this error at the end, because a static pod runs even without its mirror pod
	if pod != shown {
		if shown, mirrorErr = m.mirror(ctx, pod, shown); shown == nil {
			cached = nil
		} else if cached == nil {
			cached = compact.Whole(shown)
		}
	} else if isMirror(pod) {
		return f.delete(ctx, pod) // the static pod of this mirror pod was removed
	}

	now := time.Now()
	if l == nil {
		var err error
		if l, err = m.begin(pod, shown); err != nil {
			return err
		}
	} else {
		l.describeAdded(pod)
	}
	now = l.clock.read(now, now.Sub(f.made))
	switch {
	case l.life == nil:
		if err := l.makeLife(pod, shown, now); err != nil {
			l.release()
			return err
		}
	case cached != nil && cached != l.shown:
		l.life.Update(l.known(pod, shown), l.containers, now)
	}
	if cached != nil {
		l.shown = cached
	}
	f.mu.Lock()
	f.lives[key] = l
	f.mu.Unlock()

	for id, code := range m.spec.Pods.Exits(key.Namespace, key.Name) {
		l.life.Exit(id, code, now)
	}
	status, next, gone := l.life.At(now)
	if pod != shown {
		l.status = &status
	}
	if hasEnded(&status) {
		l.release()
	}
	reported := shown != nil && equality.Semantic.DeepEqual(&shown.Status, &status)
	served, stored := pod, cached
	if pod != shown || !reported { // avoid a copy if the cached object is up to date
		served = &v1.Pod{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec, Status: status}
		stored = compact.Whole(served)
	}
	if err := m.put(scenario.Pod{Pod: served, Containers: l.containers}, stored); err != nil {
		return err
	}
	if !next.IsZero() {
		f.queue.AddAfter(key, max(0, next.Sub(now)))
	}
	if shown == nil {
		return mirrorErr
	}
	if !reported {
		if err := f.patch(ctx, shown, &status); err != nil {
			return err
		}
	}
	if gone {
		return f.delete(ctx, shown)
	}
	if f.options.Only == "" && reported && pod == shown && next.IsZero() && !hasEnded(&status) {
		// Nothing changes until the apiserver has a new version of the pod. A Life that is then made from the status
		// continues like this one, as after a restart of the process, so there is no need to keep this one in memory.
		l.life = nil
	}
	return nil
}

// put puts a pod into the node's store. On one of many nodes, the store keeps only the compact form of the pod.
func (m *member) put(pod scenario.Pod, stored *compact.Pod) error {
	if m.fleet.options.Only == "" {
		return m.spec.Pods.PutCompact(pod, stored)
	}
	return m.spec.Pods.Put(pod)
}

// The method "begin" makes the entry of a pod, and allocates its IPs.
func (m *member) begin(pod, shown *v1.Pod) (*podEntry, error) {
	l := &podEntry{member: m, uid: pod.UID}
	if m.fleet.options.Containers != nil {
		l.containers = m.fleet.shareDescriptions(m.fleet.options.Containers(pod))
	}
	if shown != nil && shown != pod {
		l.status = &shown.Status
	}
	if pod.Spec.HostNetwork || shown != nil && hasEnded(&shown.Status) {
		return l, nil
	}
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
	return l, nil
}

// describeAdded looks up the descriptions of ephemeral containers that were added to the pod and have not started.
func (l *podEntry) describeAdded(pod *v1.Pod) {
	var added map[string]scenario.Container
	for i := range pod.Spec.EphemeralContainers {
		name := pod.Spec.EphemeralContainers[i].Name
		_, isDescribed := l.containers[name]
		if isDescribed || podlife.ContainerStatus(pod, name) != nil || l.member.fleet.options.Containers == nil {
			continue
		}
		if added == nil {
			added = l.member.fleet.options.Containers(pod)
		}
		if described, found := added[name]; found {
			all := maps.Clone(l.containers) // other pods may share the map
			if all == nil {
				all = map[string]scenario.Container{}
			}
			all[name] = described
			l.containers = l.member.fleet.shareDescriptions(all)
		}
	}
}

// makeLife makes the Life of a pod. If the apiserver has a status of the pod, the Life continues from that status.
func (l *podEntry) makeLife(pod, shown *v1.Pod, now time.Time) error {
	m := l.member
	settings := podlife.Settings{HostIPs: m.ips(), PodIPs: l.ips}
	switch {
	case pod.Spec.HostNetwork:
		settings.PodIPs = settings.HostIPs
	case l.ipam == nil: // the pod has ended
		settings.PodIPs = ipsOf(shown)
	}
	if period := m.spec.Config.Kubelet.CrashLoopBackOff.MaxContainerRestartPeriod; period != nil {
		settings.MaxBackOff = period.Duration
	}
	lived := pod
	if shown != nil {
		lived = l.known(pod, shown)
	}
	var err error
	l.life, err = podlife.New(lived, l.containers, settings, now)
	return err
}

// shareDescriptions returns a map with the same descriptions. Equal maps are returned as one map, to save memory. An
// empty map is returned as nil.
func (f *Fleet) shareDescriptions(of map[string]scenario.Container) map[string]scenario.Container {
	if len(of) == 0 {
		return nil
	}
	key, err := json.Marshal(of)
	if err != nil {
		return of
	}
	shared, _ := f.descriptions.LoadOrStore(string(key), of)
	// The JSON form has neither fractions of a second nor the contents of log files.
	if !reflect.DeepEqual(shared, of) {
		return of
	}
	return shared.(map[string]scenario.Container)
}

// The method "known" returns the version of the pod that is passed to podlife. For a static pod it has the spec and the
// status of the static pod, plus the conditions that other programs have set on the mirror pod.
func (l *podEntry) known(pod, shown *v1.Pod) *v1.Pod {
	if pod == shown {
		return pod
	}
	known := *pod
	known.Status = *l.status
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

// release makes the pod's IPs available to other pods.
func (l *podEntry) release() {
	if l.ipam != nil {
		l.ipam.release(l.uid, l.ips)
		l.ipam = nil
	}
}

// hasEnded reports whether no container of the pod runs or will run again.
func hasEnded(s *v1.PodStatus) bool {
	runs := func(c v1.ContainerStatus) bool { return c.State.Running != nil }
	return (s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed) &&
		!slices.ContainsFunc(s.InitContainerStatuses, runs) &&
		!slices.ContainsFunc(s.ContainerStatuses, runs) && !slices.ContainsFunc(s.EphemeralContainerStatuses, runs)
}

func ipsOf(pod *v1.Pod) []string {
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return ips
}

// uidOf returns the UID that the node uses for a pod. For a mirror pod it is the UID of the static pod.
func uidOf(pod *v1.Pod) types.UID {
	if uid, is := pod.Annotations[annotationMirror]; is {
		return types.UID(uid)
	}
	return pod.UID
}

// The method "drop" removes a pod that was deleted or is no longer on a node of the Fleet.
func (f *Fleet) drop(key types.NamespacedName, l *podEntry) {
	f.mu.Lock()
	delete(f.lives, key)
	f.mu.Unlock()
	l.member.spec.Pods.Remove(key.Namespace, key.Name, l.uid)
	l.release()
}

// The method "patch" sends a pod status to the apiserver. It returns no error if the pod was deleted or replaced,
// because the watch reports the deletion. (kubelet: pkg/util/pod, PatchPodStatus. A kubelet reads the pod first.
// Fauxlet compares the status with the cached pod.)
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
	_, err = f.options.Client.CoreV1().Pods(shown.Namespace).Patch(ctx, shown.Name, types.StrategicMergePatchType,
		patch, metav1.PatchOptions{}, "status")
	return unlessGone(err)
}

// The method "delete" deletes a pod whose containers have ended. (kubelet: status manager, syncPod)
func (f *Fleet) delete(ctx context.Context, pod *v1.Pod) error {
	return unlessGone(f.options.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}))
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
