package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"fauxlet/config"
	"fauxlet/internal/faults"
	"fauxlet/internal/node"
	"fauxlet/internal/pods"
)

// scenario is what serve pretends, which a file says, and may say anew while it runs.
type scenario struct {
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
	file     *config.Scenario[pods.Container]
	specs    []pods.Spec
	nodeLogs map[string]string
}

// readScenario reads the file; path empty is a scenario of nothing.
func readScenario(path, manifests string, joins, many bool, active *faults.Set) (*scenario, error) {
	s := &scenario{path: path, joins: joins, many: many, manifests: manifests, faults: active, file: &config.Scenario[pods.Container]{}}
	return s, s.read()
}

// read reads the file, again. What is wrong with it leaves all as it was.
func (s *scenario) read() error {
	if s.path == "" {
		return nil
	}
	file, err := config.LoadScenario[pods.Container](s.path, s.joins)
	if err != nil {
		return fmt.Errorf("--scenario: %w", err)
	}
	if file.Nodes > 0 && !s.many {
		return fmt.Errorf("--scenario: scenario %s: nodes: %d: is how many nodes there are with --nodes, which was not given", s.path, file.Nodes)
	}
	for i := range file.Containers {
		is := &file.Containers[i].Is
		is.Log = beside(s.path, is.Log)
	}
	var specs []pods.Spec
	for _, pod := range file.Pods {
		if s.joins {
			giveImages(pod)
		}
		specs = append(specs, pods.Spec{Pod: pod, Containers: file.ContainersOf(pod)})
	}
	if _, err := pods.NewStore(specs...); err != nil {
		return fmt.Errorf("--scenario: scenario %s: %w", s.path, err)
	}
	for i := range file.Containers {
		if err := file.Containers[i].Is.Validate(); err != nil {
			return fmt.Errorf("--scenario: scenario %s: containers[%d].%w", s.path, i, err)
		}
	}
	if err := s.setFaults(file.Faults); err != nil {
		return fmt.Errorf("--scenario: scenario %s: %w", s.path, err)
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

// setFaults has these faults active in place of those that the file had before. An error names the wrong one, and changes
// nothing.
func (s *scenario) setFaults(texts []json.RawMessage) error {
	all := make([]faults.Fault, len(texts))
	for i, text := range texts {
		if err := config.UnmarshalStrict(text, &all[i], fmt.Sprintf("faults[%d]", i)); err != nil {
			return err
		}
	}
	if err := s.faults.Replace(ofScenario, all); err != nil {
		return fmt.Errorf("faults%w", err)
	}
	return nil
}

// beside is log with its files where the scenario that names them is.
func beside(scenario string, log pods.Log) pods.Log {
	if log.File != "" && !filepath.IsAbs(log.File) {
		log.File = filepath.Join(filepath.Dir(scenario), log.File)
	}
	if log.Previous != nil {
		previous := beside(scenario, *log.Previous)
		log.Previous = &previous
	}
	return log
}

// static are the pods of a registered node that no apiserver has given it: the file's own, and those of staticPodPath.
func (s *scenario) static() ([]*v1.Pod, error) {
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
func (s *scenario) containersOf(pod *v1.Pod) map[string]pods.Container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	name := pod.Name
	if node.IsStatic(pod) {
		name = strings.TrimSuffix(name, "-"+strings.ToLower(pod.Spec.NodeName))
	}
	return s.file.ContainersOfNamed(pod, name)
}

// nodes is how many the file says that there are; 0: it does not.
func (s *scenario) nodes() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.Nodes
}
