package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// The version and kind that a scenario file must bear.
const (
	ScenarioAPIVersion = "fauxlet/v1alpha1"
	ScenarioKind       = "Scenario"
)

// Scenario is what fauxlet pretends: the pods of the node, and what is made up of
// their containers. C is the description of one container, a struct with JSON tags
// (pods.Container); its fields stand inline in an entry of containers, beside
// namespace, pod and container.
type Scenario[C any] struct {
	APIVersion string                 `json:"apiVersion"`
	Kind       string                 `json:"kind"`
	Pods       []*v1.Pod              `json:"pods,omitempty"`
	Containers []ScenarioContainer[C] `json:"containers,omitempty"`
	// NodeLogs are the files of the node's own logs, by their paths below /var/log.
	NodeLogs map[string]string `json:"nodeLogs,omitempty"`
	// Nodes is how many nodes there are where there are many; 0: as many as the command line says.
	Nodes int `json:"nodes,omitempty"`
	// Faults are what goes wrong on purpose, each a faults.Fault as JSON. What they mean is checked where they are used.
	Faults []json.RawMessage `json:"faults,omitempty"`
}

// ScenarioContainer describes one container of one of the scenario's pods, or, where one of the three names is a pattern
// (of package path: *, ?, [a-z]), all containers that match.
type ScenarioContainer[C any] struct {
	Namespace string
	Pod       string
	Container string
	Is        C
}

// matches says whether the entry is about a container.
func (c *ScenarioContainer[C]) matches(namespace, pod, container string) bool {
	for _, pair := range [][2]string{{c.Namespace, namespace}, {c.Pod, pod}, {c.Container, container}} {
		if matches, err := path.Match(pair[0], pair[1]); err != nil || !matches {
			return false
		}
	}
	return true
}

// pattern says whether the entry may be about many containers, and whether its patterns are well-formed.
func (c *ScenarioContainer[C]) pattern() (is bool, err error) {
	for field, name := range map[string]string{"namespace": c.Namespace, "pod": c.Pod, "container": c.Container} {
		if !strings.ContainsAny(name, `*?[\`) {
			continue
		}
		is = true
		if _, bad := path.Match(name, ""); bad != nil {
			err = fmt.Errorf("%s: %q: %w; a pattern has *, ? and [a-z]", field, name, bad)
		}
	}
	return is, err
}

// scenarioFile is the form in which the file is read: a container's fields are known only to C.
type scenarioFile struct {
	APIVersion string                       `json:"apiVersion"`
	Kind       string                       `json:"kind"`
	Pods       []*v1.Pod                    `json:"pods,omitempty"`
	Containers []map[string]json.RawMessage `json:"containers,omitempty"`
	NodeLogs   map[string]string            `json:"nodeLogs,omitempty"`
	Nodes      int                          `json:"nodes,omitempty"`
	Faults     []json.RawMessage            `json:"faults,omitempty"`
}

// LoadScenario reads a scenario from a file of YAML or JSON. A field that does not
// exist or stands twice is an error that names its path, and so is a container
// that no pod of the scenario has; where joins is set, the node has pods that are
// bound to it too, and a scenario may name pods that are not its own.
// What has no namespace is in "default", and an entry that names no container is of
// the pod's only one, or, where the pod is not the scenario's own, of each.
// What pods and containers mean is checked where they are used (package pods).
func LoadScenario[C any](file string, joins bool) (*Scenario[C], error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", file, err)
	}
	s, err := ParseScenario[C](data, joins)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", file, err)
	}
	return s, nil
}

// ParseScenario is LoadScenario of a file's content.
func ParseScenario[C any](data []byte, joins bool) (*Scenario[C], error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, fmt.Errorf("the file is empty; it needs at least apiVersion: %s and kind: %s", ScenarioAPIVersion, ScenarioKind)
	}
	text, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, err
	}
	// Version and kind first: with another kind, each of its fields would be unknown.
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &meta); err != nil {
		return nil, fmt.Errorf("not an object with apiVersion and kind: %w", err)
	}
	if meta.APIVersion != ScenarioAPIVersion || meta.Kind != ScenarioKind {
		return nil, fmt.Errorf("apiVersion %q, kind %q: a scenario has apiVersion: %s and kind: %s", meta.APIVersion, meta.Kind, ScenarioAPIVersion, ScenarioKind)
	}
	var file scenarioFile
	if err := UnmarshalStrict(text, &file, ""); err != nil {
		return nil, err
	}
	s := &Scenario[C]{APIVersion: meta.APIVersion, Kind: meta.Kind, Pods: file.Pods, NodeLogs: file.NodeLogs, Nodes: file.Nodes, Faults: file.Faults}
	if s.Nodes < 0 {
		return nil, fmt.Errorf("nodes: %d: must not be negative; it is how many nodes there are", s.Nodes)
	}
	for i, pod := range s.Pods {
		if pod == nil {
			return nil, fmt.Errorf("pods[%d]: null is not a pod; remove the entry", i)
		}
		if pod.Namespace == "" {
			pod.Namespace = v1.NamespaceDefault
		}
	}
	for i, fields := range file.Containers {
		entry, err := readContainer[C](fields, fmt.Sprintf("containers[%d]", i))
		if err != nil {
			return nil, err
		}
		s.Containers = append(s.Containers, *entry)
	}
	return s, s.resolve(joins)
}

// readContainer parts the three fields that say which container it is from those of C.
func readContainer[C any](fields map[string]json.RawMessage, path string) (*ScenarioContainer[C], error) {
	entry := &ScenarioContainer[C]{}
	rest := map[string]json.RawMessage{}
	for name, value := range fields {
		var into *string
		switch name {
		case "namespace":
			into = &entry.Namespace
		case "pod":
			into = &entry.Pod
		case "container":
			into = &entry.Container
		default:
			rest[name] = value
			continue
		}
		if err := json.Unmarshal(value, into); err != nil {
			return nil, fmt.Errorf("%s.%s: %s is not a string", path, name, value)
		}
	}
	text, err := json.Marshal(rest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entry, UnmarshalStrict(text, &entry.Is, path)
}

// UnmarshalStrict decodes JSON, and names the path of what is unknown in it or stands twice, below the path given.
func UnmarshalStrict(text []byte, into any, path string) error {
	strict, err := kjson.UnmarshalStrict(text, into)
	if err == nil && len(strict) == 0 {
		return nil
	}
	if err != nil {
		if path != "" {
			return fmt.Errorf("%s: %w", path, err)
		}
		return err
	}
	var what []string
	for _, err := range strict {
		if field, ok := err.(kjson.FieldError); ok && path != "" {
			field.SetFieldPath(path + "." + field.FieldPath())
		}
		what = append(what, err.Error())
	}
	return fmt.Errorf("%s; correct the spelling or remove it", strings.Join(what, ", "))
}

// resolve fills in what an entry leaves out and finds its container.
func (s *Scenario[C]) resolve(joins bool) error {
	for i := range s.Containers {
		entry := &s.Containers[i]
		if entry.Namespace == "" {
			entry.Namespace = v1.NamespaceDefault
		}
		pattern, err := entry.pattern()
		if err != nil {
			return fmt.Errorf("containers[%d].%w", i, err)
		}
		at := slices.IndexFunc(s.Pods, func(p *v1.Pod) bool { return p.Namespace == entry.Namespace && p.Name == entry.Pod })
		switch {
		case at < 0 && entry.Pod == "":
			return fmt.Errorf("containers[%d].pod: missing; name a pod, or give a pattern, as in *", i)
		case at < 0 && (pattern || joins):
			entry.Container = cmp.Or(entry.Container, "*")
			continue
		case at < 0:
			return fmt.Errorf("containers[%d].pod: no pod %s/%s in this scenario; name one of pods, or add it there", i, entry.Namespace, entry.Pod)
		}
		names := containerNames(s.Pods[at])
		if entry.Container == "" && len(names) == 1 {
			entry.Container = names[0]
		}
		if !pattern && !slices.Contains(names, entry.Container) {
			return fmt.Errorf("containers[%d].container: pod %s/%s has no container %q; it has %s", i, entry.Namespace, entry.Pod, entry.Container, strings.Join(names, ", "))
		}
		for j, other := range s.Containers[:i] {
			if other.Namespace == entry.Namespace && other.Pod == entry.Pod && other.Container == entry.Container {
				return fmt.Errorf("containers[%d]: container %s of pod %s/%s is described in containers[%d] already; put them together", i, entry.Container, entry.Namespace, entry.Pod, j)
			}
		}
	}
	return nil
}

func containerNames(pod *v1.Pod) []string {
	var names []string
	for _, c := range pod.Spec.InitContainers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	return names
}

// ContainersOf is what the scenario says of the containers of a pod, by name: of each the first entry that is about it.
func (s *Scenario[C]) ContainersOf(pod *v1.Pod) map[string]C {
	return s.ContainersOfNamed(pod, pod.Name)
}

// ContainersOfNamed is ContainersOf for a pod that the scenario knows by another name, as a static pod.
func (s *Scenario[C]) ContainersOfNamed(pod *v1.Pod, name string) map[string]C {
	var containers map[string]C
	for _, container := range containerNames(pod) {
		i := slices.IndexFunc(s.Containers, func(entry ScenarioContainer[C]) bool { return entry.matches(pod.Namespace, name, container) })
		if i < 0 {
			continue
		}
		if containers == nil {
			containers = map[string]C{}
		}
		containers[container] = s.Containers[i].Is
	}
	return containers
}
