package sample

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/expect"
)

// WritePods writes pods to a file for the program "reference".
func WritePods(t testing.TB, dir string, pods []Pod) string {
	t.Helper()
	list := v1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for _, pod := range pods {
		list.Items = append(list.Items, *pod.Object())
	}
	return WriteYAML(t, filepath.Join(dir, "pods.yaml"), list)
}

// WriteScenario writes a scenario for fauxlet that contains the pods. It writes their logs to a folder.
func WriteScenario(t testing.TB, dir, logs string, pods []Pod) string {
	t.Helper()
	var objects []*v1.Pod
	var entries []map[string]any
	for _, pod := range pods {
		objects = append(objects, pod.Object())
		for _, c := range pod.Containers {
			entry := map[string]any{"file": logFile(logs, pod, c, "")}
			if c.Grows {
				entry = map[string]any{"interval": "100ms"}
			}
			if c.Previous != nil {
				entry["previous"] = map[string]any{"file": logFile(logs, pod, c, ".previous")}
			}
			entries = append(entries, map[string]any{"namespace": pod.Namespace, "pod": pod.Name, "container": c.Name,
				"log": entry})
		}
	}
	return WriteYAML(t, filepath.Join(dir, "scenario.yaml"), map[string]any{
		"apiVersion": "fauxlet/v1alpha1", "kind": "Scenario", "pods": objects, "containers": entries,
		"nodeLogs": nodeLogs,
	})
}

// nodeLogs has the content of the node's own log files below /var/log.
var nodeLogs = map[string]string{
	"kubelet.log": "started\nserving\n", "empty.log": "", "containers/a&b.log": "a\n",
	"containers/deep/er/c.log": "c\n",
	"noext":                    "plain",
}

// WriteNodeLogs writes the node's own log files for the program "reference".
func WriteNodeLogs(t testing.TB, dir string) string {
	t.Helper()
	for name, text := range nodeLogs {
		path := filepath.Join(dir, name)
		expect.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		expect.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func WriteYAML(t testing.TB, path string, object any) string {
	t.Helper()
	data, err := yaml.Marshal(object)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(path, data, 0o644))
	return path
}

func logFile(dir string, p Pod, c Container, attempt string) string {
	return filepath.Join(dir, p.Namespace+"_"+p.Name+"_"+c.Name+attempt+".log")
}

// WriteLogs writes the logs of containers in the CRI format. It appends lines to the logs that grow until the test
// ends.
func WriteLogs(t testing.TB, dir string, pods []Pod) string {
	t.Helper()
	expect.NoError(t, os.Mkdir(dir, 0o755))
	for _, pod := range pods {
		for _, c := range pod.Containers {
			expect.NoError(t, appendLog(logFile(dir, pod, c, ""), c.Log, c.LogEnd))
			if c.Previous != nil {
				expect.NoError(t, appendLog(logFile(dir, pod, c, ".previous"), c.Previous, ""))
			}
			if c.Grows {
				done, ended := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(ended)
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case now := <-tick.C:
							_ = appendLog(logFile(dir, pod, c, ""), []Line{{now, "written at " + now.String()}}, "")
						case <-done:
							return
						}
					}
				}()
				t.Cleanup(func() { close(done); <-ended })
			}
		}
	}
	return dir
}

func appendLog(path string, lines []Line, end string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "%s stdout F %s\n", l.At.Format(time.RFC3339Nano), l.Text)
	}
	_, err = file.WriteString(text.String() + end)
	return err
}
