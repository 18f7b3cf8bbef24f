package scenario

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Options are the options of [Load] and [Parse].
type Options struct {
	// InCluster is true if the node is registered in a cluster. The cluster can then bind pods to the node that are not
	// in the scenario, so a selector may name a pod that is not in the scenario.
	InCluster bool
	// Dir is the folder at which relative paths of log files start. If Dir is empty, they start at the current folder.
	// Load sets Dir to the folder of the Scenario file.
	Dir string
}

// Load reads and checks a Scenario file in YAML or JSON, and reads the log files that it names. Unknown and duplicate
// fields are errors, and so is an entry that matches no container, or a log file that cannot be read. Errors name the
// file and the path of the field. Load does not validate the pods; pods.NewStore does.
func Load(file string, o Options) (*Scenario, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", file, err)
	}
	o.Dir = filepath.Dir(file)
	s, err := Parse(data, o)
	if err == nil {
		err = s.readLogs()
	}
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", file, err)
	}
	return s, nil
}

// Parse is like [Load] for the content of a file, but it does not read the log files.
func Parse(data []byte, o Options) (*Scenario, error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, fmt.Errorf("the file is empty; it needs at least apiVersion: %s and kind: %s", APIVersion, Kind)
	}
	text, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, err
	}
	if err := checkKind(text); err != nil {
		return nil, err
	}
	s := &Scenario{}
	strict, err := kjson.UnmarshalStrict(text, s)
	if err != nil {
		return nil, locate(text, err)
	}
	if len(strict) > 0 {
		return nil, fmt.Errorf("%w; correct the spelling or remove the field", utilerrors.NewAggregate(strict))
	}
	if s.Nodes < 0 {
		return nil, fmt.Errorf("nodes: %d: must not be negative; it is the number of nodes", s.Nodes)
	}
	for i, pod := range s.Pods {
		if pod == nil {
			return nil, fmt.Errorf("pods[%d]: null is not a pod; remove the entry", i)
		}
		pod.Namespace = cmp.Or(pod.Namespace, v1.NamespaceDefault)
	}
	if err := s.completeEntries(o); err != nil {
		return nil, err
	}
	for i := range s.Faults {
		if err := s.Faults[i].Validate(); err != nil {
			return nil, fmt.Errorf("faults[%d].%w", i, err)
		}
	}
	return s, nil
}

// checkKind rejects a file of a different kind. Without checkKind, the decoder would only report that such a file has
// an unknown field.
func checkKind(text []byte) error {
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(text, &meta); err != nil {
		return fmt.Errorf("the file must be an object with apiVersion and kind: %w", err)
	}
	if meta.APIVersion != APIVersion || meta.Kind != Kind {
		return fmt.Errorf("apiVersion %q, kind %q: a scenario must have apiVersion: %s and kind: %s",
			meta.APIVersion, meta.Kind, APIVersion, Kind)
	}
	return nil
}

// locate returns an error that names the list entry that cannot be decoded, such as "pods[2]". The decoder's own error,
// given as "failed", does not contain the index of the entry. To find the index, locate decodes the entries of the
// lists one by one until one of them cannot be decoded. If it finds no such entry, it returns the decoder's error.
func locate(text []byte, failed error) error {
	var lists struct{ Pods, Containers, Faults []json.RawMessage }
	if json.Unmarshal(text, &lists) != nil {
		return failed
	}
	return cmp.Or(locateIn[v1.Pod]("pods", lists.Pods), locateIn[ContainerEntry]("containers", lists.Containers),
		locateIn[Fault]("faults", lists.Faults), failed)
}

func locateIn[T any](list string, entries []json.RawMessage) error {
	for i, entry := range entries {
		if err := kjson.UnmarshalCaseSensitivePreserveInts(entry, new(T)); err != nil {
			return fmt.Errorf("%s[%d]: %w", list, i, err)
		}
	}
	return nil
}

// completeEntries validates the entries of s.Containers and fills in the fields that they omit.
func (s *Scenario) completeEntries(o Options) error {
	for i := range s.Containers {
		entry := &s.Containers[i]
		entry.Namespace = cmp.Or(entry.Namespace, v1.NamespaceDefault)
		if err := s.completeSelector(i, o.InCluster); err != nil {
			return fmt.Errorf("containers[%d]%w", i, err)
		}
		if err := entry.Validate(nil); err != nil {
			return fmt.Errorf("containers[%d].%w", i, err)
		}
		entry.Log.resolve(o.Dir)
	}
	return nil
}

func (l *Log) resolve(dir string) {
	if l.File != "" && !filepath.IsAbs(l.File) {
		l.File = filepath.Join(dir, l.File)
	}
	if l.Previous != nil {
		l.Previous.resolve(dir)
	}
}

// readLogs reads the files of all logs, each file once.
func (s *Scenario) readLogs() error {
	contents := map[string]*string{}
	for i := range s.Containers {
		field := "log"
		for l := &s.Containers[i].Log; l != nil; l, field = l.Previous, field+".previous" {
			if l.File == "" {
				continue
			}
			if contents[l.File] == nil {
				data, err := os.ReadFile(l.File)
				if err != nil {
					return fmt.Errorf("containers[%d].%s.file: %w; correct the path or create the file", i, field, err)
				}
				contents[l.File] = new(string(data))
			}
			l.FileContent = contents[l.File]
		}
	}
	return nil
}
