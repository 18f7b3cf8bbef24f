package podlife

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"fauxlet/scenario"
)

// adopt recovers the state of the life from the pod's status. A container whose description has a fixed State gets
// that State instead.
func (l *Life) adopt() {
	latest := func(t time.Time) {
		if t.After(l.now) {
			l.now = t
		}
	}
	l.rebind()
	for i := range l.containers {
		c := &l.containers[i]
		if s := statusOf(&l.pod.Status, c); s != nil {
			c.moment = momentOf(s, c.spec)
		}
		if c.isFixed() {
			c.moment = fixedMoment(c.described, c.kind, l.began)
		}
		if c.waiting == crashLoop && c.backOff == 0 {
			c.backOff = c.nextBackOff(l.maxBackOff())
		}
		latest(c.run.started)
		latest(c.run.finished)
	}
	for i, kind := range timedConditions {
		if c := conditionOf(&l.pod.Status, kind); c != nil && l.pod.Status.StartTime != nil {
			l.conditions[i] = condition{met: c.Status == v1.ConditionTrue, since: c.LastTransitionTime.Time}
			latest(c.LastTransitionTime.Time)
		}
	}
}

func statusOf(s *v1.PodStatus, c *container) *v1.ContainerStatus {
	list := s.InitContainerStatuses
	switch c.kind {
	case MainContainer:
		list = s.ContainerStatuses
	case EphemeralContainer:
		list = s.EphemeralContainerStatuses
	}
	for i := range list {
		if list[i].Name == c.spec.Name {
			return &list[i]
		}
	}
	return nil
}

// rebind makes l.containers from the pod's spec. Containers that existed before keep their state.
func (l *Life) rebind() {
	before := l.containers
	l.containers = make([]container, 0, len(before))
	for kind, spec := range Containers(l.pod) {
		c := container{kind: kind, spec: spec, described: &scenario.Container{}}
		old := slices.IndexFunc(before, func(c container) bool { return c.spec.Name == spec.Name })
		if old >= 0 {
			c.moment, c.turn, c.described = before[old].moment, before[old].turn, before[old].described
		} else if described, found := l.described[spec.Name]; found {
			c.described = &described
		}
		l.containers = append(l.containers, c)
	}
}
