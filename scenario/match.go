package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// ContainersOf returns the descriptions of a pod's containers, by name. The description of a container is the first
// entry of s.Containers that matches it. A container without a matching entry is missing from the map.
func (s *Scenario) ContainersOf(pod *v1.Pod) map[string]Container {
	return s.ContainersOfNamed(pod, pod.Name)
}

// ContainersOfNamed is like [Scenario.ContainersOf], but compares selectors with the given name, not with the pod's own
// name. The two names differ for a static pod in a cluster: its own name there ends with the name of the node, and its
// name in the scenario does not.
func (s *Scenario) ContainersOfNamed(pod *v1.Pod, name string) map[string]Container {
	containers := map[string]Container{}
	for _, container := range containerNames(pod) {
		i := slices.IndexFunc(s.Containers, func(entry ContainerEntry) bool {
			return entry.Selector.matches(pod.Namespace, name, container)
		})
		if i >= 0 {
			containers[container] = s.Containers[i].Container
		}
	}
	return containers
}

func (s *Selector) matches(namespace, pod, container string) bool {
	matches := func(pattern, name string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	}
	return matches(s.Namespace, namespace) && matches(s.Pod, pod) && matches(s.Container, container)
}

// isPattern reports whether a field of the selector is a pattern. It returns an error if a pattern is malformed.
func (s *Selector) isPattern() (bool, error) {
	for _, field := range [][2]string{{"namespace", s.Namespace}, {"pod", s.Pod}, {"container", s.Container}} {
		if _, err := path.Match(field[1], ""); err != nil {
			return true, fmt.Errorf("%s: %q: %w; use only *, ? and ranges such as [a-z]", field[0], field[1], err)
		}
	}
	return strings.ContainsAny(s.Namespace+s.Pod+s.Container, `*?[\`), nil
}

// completeSelector validates the selector of s.Containers[n] and sets its default container. A selector without a
// pattern must select a container of the scenario, unless the pod is not in the scenario and the node is in a cluster.
// An earlier entry must not have the same selector. The text of an error begins with a dot and a field, or with a
// colon, so that the caller can put "containers[n]" before it.
func (s *Scenario) completeSelector(n int, inCluster bool) error {
	selector := &s.Containers[n].Selector
	pattern, err := selector.isPattern()
	if err != nil {
		return fmt.Errorf(".%w", err)
	}
	i := slices.IndexFunc(s.Pods, func(pod *v1.Pod) bool {
		return pod.Namespace == selector.Namespace && pod.Name == selector.Pod
	})
	switch {
	case i < 0 && selector.Pod == "":
		return errors.New(".pod: missing; name a pod, or use a pattern such as *")
	case i < 0 && (pattern || inCluster):
		selector.Container = cmp.Or(selector.Container, "*")
		return nil
	case i < 0:
		return fmt.Errorf(".pod: no pod %s/%s in this scenario; name a pod of the scenario, or add the pod to pods",
			selector.Namespace, selector.Pod)
	}
	names := containerNames(s.Pods[i])
	if selector.Container == "" && len(names) == 1 {
		selector.Container = names[0]
	}
	if !pattern && !slices.Contains(names, selector.Container) {
		return fmt.Errorf(".container: pod %s/%s has no container %q; its containers are %s",
			selector.Namespace, selector.Pod, selector.Container, strings.Join(names, ", "))
	}
	for j, earlier := range s.Containers[:n] {
		if earlier.Selector == *selector {
			return fmt.Errorf(": container %s of pod %s/%s is already described in containers[%d]; merge the "+
				"two entries", selector.Container, selector.Namespace, selector.Pod, j)
		}
	}
	return nil
}

// containerNames returns the names of a pod's init, main and ephemeral containers.
func containerNames(pod *v1.Pod) []string {
	var names []string
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	return names
}
