package podlife

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"fauxlet/scenario"
)

// adopt sets the state of the Life from the status that the pod already has. If the description of a container has a
// State that never changes, adopt uses this State and ignores the container's status.
func (l *Life) adopt() {
	l.rebind()
	for i := range l.containers {
		c := &l.containers[i]
		if s := ContainerStatus(l.pod, c.spec.Name); s != nil {
			c.moment = momentOf(s, c.spec)
		}
		if c.isFixed() {
			c.moment = fixedMoment(c.described, c.kind, l.began)
		}
		if c.waiting == crashLoop && c.backOff == 0 {
			c.backOff = c.nextBackOff(l.maxBackOff())
		}
		l.now = later(later(l.now, c.run.started), c.run.finished)
	}
	for i, kind := range timedConditions {
		if c := conditionOf(&l.pod.Status, kind); c != nil && l.pod.Status.StartTime != nil {
			l.conditions[i] = condition{met: c.Status == v1.ConditionTrue, since: c.LastTransitionTime.Time}
			l.now = later(l.now, c.LastTransitionTime.Time)
		}
	}
}

// rebind makes l.containers from the pod's spec. Containers that existed before keep their state.
func (l *Life) rebind() {
	before := l.containers
	l.containers = make([]container, 0, len(before))
	for kind, spec := range Containers(l.pod) {
		c := container{kind: kind, spec: spec, described: &scenario.Container{}}
		if old := slices.IndexFunc(before, func(c container) bool { return c.spec.Name == spec.Name }); old >= 0 {
			c.moment, c.turn, c.described = before[old].moment, before[old].turn, before[old].described
		} else if described, found := l.described[spec.Name]; found {
			c.described = &described
		}
		l.containers = append(l.containers, c)
	}
}
