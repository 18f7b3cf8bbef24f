package host

import (
	"cmp"
	"fmt"
	"strings"
	"sync/atomic"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/faults"
	"fauxlet/internal/node"
	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// scenarioFile is the Scenario file of a host, which may be read again while the host runs.
type scenarioFile struct {
	path string
	// joins is true if the nodes are in a cluster. The file's pods are then static pods.
	joins bool
	// numbered is true if the names of nodes end with a number. Otherwise the file may not set the number of nodes.
	numbered  bool
	manifests *manifests
	// faults are the active faults of the host. Reading the Scenario file activates the faults in it.
	faults *faults.Set

	current atomic.Pointer[contents]
}

// The struct "contents" holds the contents of a Scenario file.
type contents struct {
	*scenario.Scenario
	specs []scenario.Pod // the pods in the file, for nodes that are not registered with a cluster
}

// ReadPods returns the pods of a Scenario file.
func ReadPods(path string) ([]scenario.Pod, error) {
	file, err := scenario.Load(path, scenario.Options{})
	if err != nil {
		return nil, &OptionError{"Scenario", err}
	}
	return podsOf(file), nil
}

// NewStore makes a store of pods. If a user executes a command in a container of these pods, the fake shell of package
// shell runs the command. See [pods.NewStore].
func NewStore(all ...scenario.Pod) (*pods.Store, error) {
	return pods.NewStoreWith(shell.Executor{}, all...)
}

func podsOf(file *scenario.Scenario) []scenario.Pod {
	var all []scenario.Pod
	for _, pod := range file.Pods {
		all = append(all, scenario.Pod{Pod: pod, Containers: file.ContainersOf(pod)})
	}
	return all
}

func (s *scenarioFile) errorf(format string, args ...any) error {
	return optionErrorf("Scenario", "scenario %s: %w", s.path, fmt.Errorf(format, args...))
}

// The method "read" reads the Scenario file and applies it. If the file has an error, the previous contents stay in
// effect.
func (s *scenarioFile) read() error {
	next, err := s.load()
	if err != nil {
		return err
	}
	return s.apply(next)
}

// load reads and checks the Scenario file, but changes nothing. An empty path means an empty scenario.
func (s *scenarioFile) load() (*contents, error) {
	if s.path == "" {
		return &contents{Scenario: &scenario.Scenario{}}, nil
	}
	file, err := scenario.Load(s.path, scenario.Options{InCluster: s.joins})
	if err != nil {
		return nil, &OptionError{"Scenario", err}
	}
	if file.Nodes > 0 && !s.numbered {
		return nil, s.errorf("nodes: %d: allowed only if the host was started with a number of nodes", file.Nodes)
	}
	if s.joins {
		for _, pod := range file.Pods {
			setImages(pod)
		}
	}
	specs := podsOf(file)
	if _, err := NewStore(specs...); err != nil {
		return nil, s.errorf("%w", err)
	}
	return &contents{file, specs}, nil
}

// The method "apply" makes contents the current contents and activates their faults. If the name of a fault is taken,
// it changes nothing and returns an error.
func (s *scenarioFile) apply(next *contents) error {
	if err := s.faults.Replace(ofScenario, next.Faults); err != nil {
		return s.errorf("faults%w", err)
	}
	s.current.Store(next)
	return nil
}

// If a container has no image, setImages uses the container's name as the image, because an apiserver rejects a mirror
// pod without images.
func setImages(pod *v1.Pod) {
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			containers[i].Image = cmp.Or(containers[i].Image, containers[i].Name)
		}
	}
}

// ofScenario is the origin of faults from the Scenario file. Faults that the admin API injects have no origin.
const ofScenario = "scenario"

// staticPods returns the static pods of each registered node: the pods of the Scenario file, and the pods of the
// manifests in staticPodPath.
func (s *scenarioFile) staticPods() ([]*v1.Pod, error) { return s.staticPodsWith(s.current.Load()) }

// staticPodsWith returns what staticPods will return when the given contents are the current contents.
func (s *scenarioFile) staticPodsWith(file *contents) ([]*v1.Pod, error) {
	if !s.joins {
		return nil, nil
	}
	fromFiles, err := s.manifests.read()
	if err != nil {
		return nil, err
	}
	return append(fromFiles, file.Pods...), nil
}

// containersOf returns the entries of the Scenario file about the containers of a pod.
func (s *scenarioFile) containersOf(pod *v1.Pod) map[string]scenario.Container {
	return s.current.Load().ContainersOfNamed(pod, nameInScenario(pod))
}

// nameInScenario returns the name that a pod has in the Scenario file. If the pod is static, its name in the cluster
// has the node's name as a suffix, but its name in the Scenario file does not.
func nameInScenario(pod *v1.Pod) string {
	if !node.IsStatic(pod) {
		return pod.Name
	}
	return strings.TrimSuffix(pod.Name, "-"+strings.ToLower(pod.Spec.NodeName))
}
