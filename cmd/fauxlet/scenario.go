package main

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/faults"
	"fauxlet/internal/node"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// scenarioFile is the Scenario file of a process. It is read again on SIGHUP.
type scenarioFile struct {
	path string
	// joins: the node is in a cluster, and the file's pods are its static pods.
	joins bool
	// many is true where it may say how many nodes there are.
	many bool
	// manifests is staticPodPath.
	manifests string
	// faults are those of all nodes; what the file has of them is active once it is read.
	faults *faults.Set

	mu       sync.RWMutex
	file     *scenario.Scenario
	specs    []scenario.Pod
	nodeLogs map[string]string
}

// readScenario reads the file; path empty is a scenario of nothing.
func readScenario(path, manifests string, joins, many bool, active *faults.Set) (*scenarioFile, error) {
	s := &scenarioFile{path: path, joins: joins, many: many, manifests: manifests, faults: active, file: &scenario.Scenario{}}
	return s, s.read()
}

// read reads the file, again. What is wrong with it leaves all as it was.
func (s *scenarioFile) read() error {
	if s.path == "" {
		return nil
	}
	file, err := scenario.Load(s.path, scenario.Options{InCluster: s.joins})
	if err != nil {
		return fmt.Errorf("--scenario: %w", err)
	}
	if file.Nodes > 0 && !s.many {
		return fmt.Errorf("--scenario: scenario %s: nodes: %d: is how many nodes there are with --nodes, which was not given", s.path, file.Nodes)
	}
	var specs []scenario.Pod
	for _, pod := range file.Pods {
		if s.joins {
			giveImages(pod)
		}
		specs = append(specs, scenario.Pod{Pod: pod, Containers: file.ContainersOf(pod)})
	}
	if _, err := pods.NewStore(specs...); err != nil {
		return fmt.Errorf("--scenario: scenario %s: %w", s.path, err)
	}
	if err := s.faults.Replace(ofScenario, file.Faults); err != nil {
		return fmt.Errorf("--scenario: scenario %s: faults%w", s.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.specs, s.nodeLogs = file, specs, file.NodeLogs
	return nil
}

// giveImages has containers without an image have one of their own name: no apiserver takes a mirror without.
func giveImages(pod *v1.Pod) {
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			containers[i].Image = cmp.Or(containers[i].Image, containers[i].Name)
		}
	}
}

// ofScenario is the origin of a scenario's faults.
const ofScenario = "scenario"

// static are the pods of a registered node that no apiserver has given it: the file's own, and those of staticPodPath.
func (s *scenarioFile) static() ([]*v1.Pod, error) {
	if !s.joins {
		return nil, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	manifests, err := node.ReadManifests(s.manifests)
	if err != nil {
		return nil, fmt.Errorf("staticPodPath: %w", err)
	}
	return append(manifests, s.file.Pods...), nil
}

// containersOf is what is made up of the containers of a pod. A static pod is known by the name that it was given, which
// its node's was put behind.
func (s *scenarioFile) containersOf(pod *v1.Pod) map[string]scenario.Container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	name := pod.Name
	if node.IsStatic(pod) {
		name = strings.TrimSuffix(name, "-"+strings.ToLower(pod.Spec.NodeName))
	}
	return s.file.ContainersOfNamed(pod, name)
}

// nodes is how many the file says that there are; 0: it does not.
func (s *scenarioFile) nodes() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.Nodes
}
