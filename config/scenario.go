package config

import (
	"encoding/json"
	"fmt"
	"os"
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

// Scenario is what fauxlet pretends: the pods of the node and the logs of their
// containers. L is the description of one log, a struct with JSON tags (pods.Log);
// its fields stand inline in an entry of logs, beside namespace, pod and container.
type Scenario[L any] struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Pods       []*v1.Pod        `json:"pods,omitempty"`
	Logs       []ScenarioLog[L] `json:"logs,omitempty"`
}

// ScenarioLog describes the log of one container of one of the scenario's pods.
type ScenarioLog[L any] struct {
	Namespace string
	Pod       string
	Container string
	Log       L
}

// scenarioFile is the form in which the file is read: a log's fields are known only to L.
type scenarioFile struct {
	APIVersion string                       `json:"apiVersion"`
	Kind       string                       `json:"kind"`
	Pods       []*v1.Pod                    `json:"pods,omitempty"`
	Logs       []map[string]json.RawMessage `json:"logs,omitempty"`
}

// LoadScenario reads a scenario from a file of YAML or JSON. A field that does not
// exist or stands twice is an error that names its path, and so is a log of a
// container that no pod of the scenario has. A pod or a log without a namespace is
// in "default", and a log without a container is of the pod's only one.
// What pods and logs mean is checked where they are used (package pods).
func LoadScenario[L any](path string) (*Scenario[L], error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", path, err)
	}
	s, err := ParseScenario[L](data)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", path, err)
	}
	return s, nil
}

// ParseScenario is LoadScenario of a file's content.
func ParseScenario[L any](data []byte) (*Scenario[L], error) {
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
	if err := unmarshalStrict(text, &file, ""); err != nil {
		return nil, err
	}
	s := &Scenario[L]{APIVersion: meta.APIVersion, Kind: meta.Kind, Pods: file.Pods}
	for i, pod := range s.Pods {
		if pod == nil {
			return nil, fmt.Errorf("pods[%d]: null is not a pod; remove the entry", i)
		}
		if pod.Namespace == "" {
			pod.Namespace = v1.NamespaceDefault
		}
	}
	for i, fields := range file.Logs {
		entry, err := readLog[L](fields, fmt.Sprintf("logs[%d]", i))
		if err != nil {
			return nil, err
		}
		s.Logs = append(s.Logs, *entry)
	}
	return s, s.resolve()
}

// readLog parts the three fields that say whose log it is from those of L.
func readLog[L any](fields map[string]json.RawMessage, path string) (*ScenarioLog[L], error) {
	entry := &ScenarioLog[L]{}
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
	return entry, unmarshalStrict(text, &entry.Log, path)
}

// unmarshalStrict decodes JSON and names the path of what is unknown, below the path given.
func unmarshalStrict(text []byte, into any, path string) error {
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

// resolve fills in what a log leaves out and finds its container.
func (s *Scenario[L]) resolve() error {
	for i := range s.Logs {
		log := &s.Logs[i]
		if log.Namespace == "" {
			log.Namespace = v1.NamespaceDefault
		}
		at := slices.IndexFunc(s.Pods, func(p *v1.Pod) bool { return p.Namespace == log.Namespace && p.Name == log.Pod })
		if at < 0 {
			return fmt.Errorf("logs[%d].pod: no pod %s/%s in this scenario; name one of pods, or add it there", i, log.Namespace, log.Pod)
		}
		names := containerNames(s.Pods[at])
		if log.Container == "" && len(names) == 1 {
			log.Container = names[0]
		}
		if !slices.Contains(names, log.Container) {
			return fmt.Errorf("logs[%d].container: pod %s/%s has no container %q; it has %s", i, log.Namespace, log.Pod, log.Container, strings.Join(names, ", "))
		}
		for j, other := range s.Logs[:i] {
			if other.Namespace == log.Namespace && other.Pod == log.Pod && other.Container == log.Container {
				return fmt.Errorf("logs[%d]: the log of container %s of pod %s/%s is described in logs[%d] already; remove one", i, log.Container, log.Namespace, log.Pod, j)
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

// LogsOf is what the scenario says of the logs of one of its pods, by container.
func (s *Scenario[L]) LogsOf(pod *v1.Pod) map[string]L {
	logs := map[string]L{}
	for _, log := range s.Logs {
		if log.Namespace == pod.Namespace && log.Pod == pod.Name {
			logs[log.Container] = log.Log
		}
	}
	return logs
}
