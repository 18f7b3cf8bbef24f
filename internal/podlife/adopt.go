package podlife

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/pods"
)

// adopt takes over what the pod's status tells, and puts the rest where the scenario says that it never changes.
func (l *Life) adopt() {
	latest := func(t time.Time) {
		if t.After(l.now) {
			l.now = t
		}
	}
	l.rebind()
	for i := range l.parts {
		p := &l.parts[i]
		if s := statusOf(&l.pod.Status, p); s != nil {
			p.Moment = pods.MomentOf(s, p.spec)
		}
		if p.isFixed() {
			p.Moment = pods.FixedMoment(p.is, p.kind, l.began)
		}
		if p.Waiting == "CrashLoopBackOff" && p.BackOff == 0 {
			p.BackOff = p.backOff(l.longest())
		}
		latest(p.Run.Started)
		latest(p.Run.Finished)
	}
	for i, kind := range ours {
		if c := conditionOf(&l.pod.Status, kind); c != nil && l.pod.Status.StartTime != nil {
			l.conditions[i] = condition{c.Status == v1.ConditionTrue, c.LastTransitionTime.Time}
			latest(c.LastTransitionTime.Time)
		}
	}
}

func statusOf(s *v1.PodStatus, p *part) *v1.ContainerStatus {
	list := s.InitContainerStatuses
	switch p.kind {
	case pods.MainContainer:
		list = s.ContainerStatuses
	case pods.EphemeralContainer:
		list = s.EphemeralContainerStatuses
	}
	for i := range list {
		if list[i].Name == p.spec.Name {
			return &list[i]
		}
	}
	return nil
}

// rebind makes a part of each container of the pod; those that were there go on.
func (l *Life) rebind() {
	before := l.parts
	l.parts = make([]part, 0, len(before))
	for kind, spec := range pods.Containers(l.pod) {
		p := part{kind: kind, spec: spec, is: &nothing}
		if i := slices.IndexFunc(before, func(p part) bool { return p.spec.Name == spec.Name }); i >= 0 {
			p.Moment, p.turn, p.is = before[i].Moment, before[i].turn, before[i].is
		} else if is, there := l.containers[spec.Name]; there {
			p.is = &is
		}
		l.parts = append(l.parts, p)
	}
}
