package host

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/faults"
	"fauxlet/internal/node"
	"fauxlet/scenario"
)

// scenarioFile is the Scenario file of a host, which may be read again while the host runs.
type scenarioFile struct {
	path string
	// joins: the nodes are in a cluster, so the file's pods are static pods.
	joins bool
	// numbered: there may be several nodes, so the file may give their number.
	numbered bool
	// manifests is staticPodPath.
	manifests string
	// faults are the host's. Those in the file become active when the file is read.
	faults *faults.Set

	mu       sync.RWMutex
	file     *scenario.Scenario
	specs    []scenario.Pod
	nodeLogs map[string]string
}

// readScenario reads the file. An empty path is an empty scenario.
func readScenario(path, manifests string, joins, numbered bool, active *faults.Set) (*scenarioFile, error) {
	s := &scenarioFile{path: path, joins: joins, numbered: numbered, manifests: manifests, faults: active,
		file: &scenario.Scenario{}}
	return s, s.read()
}

// ReadPods returns the pods of a Scenario file.
func ReadPods(path string) ([]scenario.Pod, error) {
	file, err := scenario.Load(path, scenario.Options{})
	if err != nil {
		return nil, &OptionError{"Scenario", err}
	}
	return podsOf(file), nil
}

func podsOf(file *scenario.Scenario) []scenario.Pod {
	var all []scenario.Pod
	for _, pod := range file.Pods {
		all = append(all, scenario.Pod{Pod: pod, Containers: file.ContainersOf(pod)})
	}
	return all
}

// errorf is an error about the file.
func (s *scenarioFile) errorf(format string, args ...any) error {
	return optionErrorf("Scenario", "scenario %s: %w", s.path, fmt.Errorf(format, args...))
}

// read reads the file. If it has an error, the scenario stays as it was.
func (s *scenarioFile) read() error {
	if s.path == "" {
		return nil
	}
	file, err := scenario.Load(s.path, scenario.Options{InCluster: s.joins})
	if err != nil {
		return &OptionError{"Scenario", err}
	}
	if file.Nodes > 0 && !s.numbered {
		return s.errorf("nodes: %d: allowed only if the host was started with a number of nodes", file.Nodes)
	}
	if s.joins {
		for _, pod := range file.Pods {
			setImages(pod)
		}
	}
	specs := podsOf(file)
	if _, err := NewStore(specs...); err != nil {
		return s.errorf("%w", err)
	}
	if err := s.faults.Replace(ofScenario, file.Faults); err != nil {
		return s.errorf("faults%w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file, s.specs, s.nodeLogs = file, specs, file.NodeLogs
	return nil
}

// setImages sets the image of each container without one to the container's name: an apiserver rejects a mirror pod
// without images.
func setImages(pod *v1.Pod) {
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			containers[i].Image = cmp.Or(containers[i].Image, containers[i].Name)
		}
	}
}

// ofScenario is the origin of a scenario's faults.
const ofScenario = "scenario"

// staticPods are the static pods of each registered node: the file's pods, and the manifests in staticPodPath.
func (s *scenarioFile) staticPods() ([]*v1.Pod, error) {
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

// containersOf returns what the scenario says of the containers of a pod. The name of a static pod ends in the node's
// name, which the scenario does not repeat.
func (s *scenarioFile) containersOf(pod *v1.Pod) map[string]scenario.Container {
	s.mu.RLock()
	defer s.mu.RUnlock()
	name := pod.Name
	if node.IsStatic(pod) {
		name = strings.TrimSuffix(name, "-"+strings.ToLower(pod.Spec.NodeName))
	}
	return s.file.ContainersOfNamed(pod, name)
}

// podSpecs are the pods of a node that is not registered.
func (s *scenarioFile) podSpecs() []scenario.Pod {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.specs
}

// nodeLogFiles are the contents of the files below /var/log, by path.
func (s *scenarioFile) nodeLogFiles() map[string]string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.nodeLogs
}

// nodeCount is the number of nodes in the file; 0: the file does not give it.
func (s *scenarioFile) nodeCount() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.file.Nodes
}
