package host

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"fauxlet/internal/faults"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

// FuzzScenario checks that each scenario either is invalid, or has pods that can be listed and whose logs can be read.
func FuzzScenario(f *testing.F) {
	const head = "apiVersion: fauxlet/v1alpha1\nkind: Scenario\n"
	const pod = "pods: [{metadata: {name: a, namespace: n}, spec: {initContainers: [{name: i}], containers: " +
		"[{name: c, ports: [{containerPort: 80}]}]}}]\n"
	for _, text := range []string{
		"", "\n", "a: [", "- 1", "null", "apiVersion: fauxlet/v1alpha1", head, head + "pods: null",
		head + "pods: [null]", head + "pods: [{}]", head + "pods: [{metadata: {name: a}}]",
		head + pod, head + pod + "containers: [{pod: a, namespace: n, container: c}]",
		head + pod + "containers: [{pod: a}]", head + pod + "containers: [null]", head + pod + "containers: [{}, {}]",
		head + pod + "containers: [{pod: a, namespace: n, container: c, log: {lines: 9223372036854775807, " +
			"interval: 1ns}}]",
		head + pod + "containers: [{pod: a, namespace: n, container: c, log: {start: 0001-01-01T00:00:00Z, " +
			"interval: 2562047h, stderr: 0.5, seed: -1}}]",
		head + pod + "containers: [{pod: a, namespace: n, container: c, log: {start: 9999-12-31T23:59:59Z, stderr: " +
			"1, lines: 3, previous: {}}}]",
		head + pod + "containers: [{pod: a, namespace: n, container: c, log: {text: " +
			"\"2016-10-06T00:17:09.669794202Z stdout P a\\n\"}}]",
		head + pod + "containers: [{pod: a, namespace: n, container: c, log: {file: a.log}}]",
		head + pod + "containers: [{pod: a, namespace: n, container: c, state: CrashLoopBackOff, usage: {cpu: " +
			"250m, memory: 64Mi}, exec: [{command: [a], exitCode: 3, delay: 1s}], files: {/etc/motd: hi}, ports: " +
			"[{port: 80, forward: \"127.0.0.1:8080\"}]}]",
		head + pod + "containers: [{pod: a, namespace: n, container: c, usage: {cpu: -1, memory: 9E18}, ports: " +
			"[{port: 0}]}]",
		head + "pods: [{metadata: {name: a}, spec: {containers: [{name: c}, {name: c}]}}]",
		head + "pods: [{metadata: {name: a, uid: x}, spec: {containers: [{name: c}]}}, {metadata: {name: b, uid: " +
			"x}, spec: {containers: [{name: c}]}}]",
		head + "pods: [{metadata: {name: a, creationTimestamp: null}, spec: {containers: [{name: c}]}, status: " +
			"{phase: Running, containerStatuses: [{name: other}]}}]",
		head + "nodeLogs: {kubelet.log: a, a/b.log: c, ../x: y}", head + "nodeLogs: {a: b, a: c}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := scenario.Parse(text, scenario.Options{})
		if err != nil {
			return
		}
		for _, entry := range parsed.Containers {
			for log := &entry.Log; log != nil; log = log.Previous {
				if filepath.IsAbs(log.File) || strings.Contains(log.File, "..") {
					return // the scenario would read a file of this machine
				}
			}
		}
		path := filepath.Join(t.TempDir(), "scenario.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		read := &scenarioFile{path: path, numbered: true, faults: faults.NewSet()}
		if read.read() != nil {
			return
		}
		store, err := NewStore(read.current.Load().specs...)
		if err != nil {
			t.Fatalf("the scenario is valid, but its pods are not: %v", err)
		}

		list := store.List()
		if len(list) != len(parsed.Pods) {
			t.Errorf("%d pods, but the scenario has %d", len(list), len(parsed.Pods))
		}
		if _, err := json.Marshal(store.Running()); err != nil {
			t.Errorf("the running pods cannot be marshalled: %v", err)
		}
		for _, pod := range list {
			text, err := json.Marshal(pod)
			if err != nil {
				t.Fatal(err)
			}
			var again v1.Pod
			if err := json.Unmarshal(text, &again); err != nil {
				t.Errorf("the pod cannot be unmarshalled: %v\n%s", err, text)
			}
			if got, found := store.Get(pod.Namespace, pod.Name); !found || got != pod {
				t.Errorf("pod %s/%s: found %v", pod.Namespace, pod.Name, found)
			}
			for _, c := range pod.Spec.Containers {
				readLog(t, store, pod, c.Name)
			}
		}
	})
}

// readLog reads the last lines of a container's current and previous log. Reading may fail, but only before there is
// any output.
func readLog(t *testing.T, store *pods.Store, pod *v1.Pod, container string) {
	t.Helper()
	tail, limit := int64(3), int64(1<<12)
	for _, previous := range []bool{false, true} {
		var out bytes.Buffer
		options := &v1.PodLogOptions{TailLines: &tail, LimitBytes: &limit, Previous: previous, Timestamps: true}
		err := store.Logs(context.Background(), pod.Namespace, pod.Name, container, options, &out, &out)
		if err != nil && out.Len() > 0 {
			t.Errorf("the log of %s ends with the error %v", container, err)
		}
		if int64(out.Len()) > limit || int64(bytes.Count(out.Bytes(), []byte("\n"))) > tail {
			t.Errorf("the log of %s has %d bytes: %q", container, out.Len(), &out)
		}
	}
}
