package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/scenario"
)

const head = "apiVersion: fauxlet/v1alpha1\nkind: Scenario\n"

const nginx = `pods:
- metadata: {name: nginx}
  spec: {containers: [{name: nginx}]}
`

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "scenario.yaml")
	text := head + `pods:
- metadata: {name: nginx}
  spec: {containers: [{name: nginx}]}
- metadata: {name: web, namespace: shop, uid: "7"}
  spec: {initContainers: [{name: prepare}], containers: [{name: app}, {name: proxy}]}
containers:
- {pod: nginx, log: {lines: 10, interval: 2s}}
- {namespace: shop, pod: web, container: proxy, log: {file: proxy.log, previous: {file: OLD}}}
- {namespace: shop, pod: web, container: prepare, log: {lines: 1}}
nodeLogs: {kubelet.log: "started\n"}
nodes: 3
faults:
- {kind: cut, after: 1000, pod: nginx}
`
	proxyLog, oldLog := filepath.Join(dir, "proxy.log"), filepath.Join(t.TempDir(), "old.log")
	write(t, path, strings.ReplaceAll(text, "OLD", oldLog))
	write(t, proxyLog, "proxy\n")
	write(t, oldLog, "old\n")
	s, err := scenario.Load(path, scenario.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 2 || s.Pods[0].Namespace != "default" || s.Pods[1].UID != "7" {
		t.Errorf("the scenario has the pods %+v", s.Pods)
	}
	if s.Nodes != 3 || s.NodeLogs["kubelet.log"] != "started\n" {
		t.Errorf("nodes = %d, nodeLogs = %q", s.Nodes, s.NodeLogs)
	}
	if len(s.Faults) != 1 || s.Faults[0].After != 1000 || s.Faults[0].Pod != "nginx" {
		t.Errorf("faults = %+v", s.Faults)
	}
	for _, want := range []struct {
		pod        *v1.Pod
		containers map[string]scenario.Container
	}{
		{pod: s.Pods[0], containers: map[string]scenario.Container{
			"nginx": {Log: scenario.Log{Lines: 10, Interval: metav1.Duration{Duration: 2 * time.Second}}},
		}},
		{pod: s.Pods[1], containers: map[string]scenario.Container{
			"prepare": {Log: scenario.Log{Lines: 1}},
			"proxy": {Log: scenario.Log{File: proxyLog, FileContent: new("proxy\n"),
				Previous: &scenario.Log{File: oldLog, FileContent: new("old\n")}}},
		}},
	} {
		if diff := cmp.Diff(want.containers, s.ContainersOf(want.pod)); diff != "" {
			t.Errorf("containers of pod %s (-want +got):\n%s", want.pod.Name, diff)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLogFilesAreReadOnce checks that a scenario keeps the content that its log files had when it was loaded, and that
// a log file that cannot be read is an error.
func TestLogFilesAreReadOnce(t *testing.T) {
	dir := t.TempDir()
	path, first, second := filepath.Join(dir, "scenario.yaml"), filepath.Join(dir, "first"), filepath.Join(dir, "second")
	write(t, path, head+"containers: [{pod: '*', log: {file: first, previous: {file: second}}}]")
	load := func() (*scenario.Scenario, error) {
		return scenario.Load(path, scenario.Options{InCluster: true})
	}
	for _, missing := range []struct{ file, err string }{
		{file: first, err: "containers[0].log.file: open " + first},
		{file: second, err: "containers[0].log.previous.file: open " + second},
	} {
		if _, err := load(); err == nil || !strings.Contains(err.Error(), missing.err) {
			t.Errorf("error %v, want %q", err, missing.err)
		}
		write(t, missing.file, "") // an empty log is not the same as a log without a file
	}
	write(t, first, "one\n")
	s, err := load()
	if err != nil {
		t.Fatal(err)
	}
	write(t, first, "changed\n")
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	want := scenario.Log{File: first, FileContent: new("one\n"),
		Previous: &scenario.Log{File: second, FileContent: new("")}}
	if diff := cmp.Diff(want, s.Containers[0].Log); diff != "" {
		t.Errorf("after the files have changed (-want +got):\n%s", diff)
	}
}

func TestFirstMatchingEntryWins(t *testing.T) {
	text := head + `containers:
- {pod: web-1, container: proxy, log: {lines: 1}}
- {pod: "web-?", container: proxy, log: {lines: 2}}
- {pod: "web-*", log: {lines: 3}}
- {namespace: "*", pod: "*", log: {lines: 4}}
`
	if _, err := scenario.Parse([]byte(text), scenario.Options{}); err == nil ||
		!strings.Contains(err.Error(), "no pod default/web-1") {
		t.Errorf("for a node outside a cluster: error %v, want an error about the missing pod web-1", err)
	}
	s, err := scenario.Parse([]byte(text), scenario.Options{InCluster: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		namespace, pod string
		app, proxy     int64
	}{
		{namespace: "default", pod: "web-1", app: 3, proxy: 1},
		{namespace: "default", pod: "web-2", app: 3, proxy: 2},
		{namespace: "default", pod: "web-10", app: 3, proxy: 3},
		{namespace: "default", pod: "other", app: 4, proxy: 4},
		{namespace: "shop", pod: "web-1", app: 4, proxy: 4},
	} {
		pod := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: test.namespace, Name: "name-in-the-cluster"},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "app"}, {Name: "proxy"}}},
		}
		got := s.ContainersOfNamed(pod, test.pod)
		if got["app"].Log.Lines != test.app || got["proxy"].Log.Lines != test.proxy {
			t.Errorf("%s/%s: app %d, proxy %d; want %d, %d",
				test.namespace, test.pod, got["app"].Log.Lines, got["proxy"].Log.Lines, test.app, test.proxy)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{name: "empty", text: " \n", want: "the file is empty"},
		{name: "not YAML", text: "a: [", want: "yaml: line 1: did not find expected node content"},
		{name: "not an object", text: "- 1", want: "the file must be an object with apiVersion and kind"},
		{name: "no version", text: "kind: Scenario",
			want: `apiVersion "", kind "Scenario": a scenario must have apiVersion: fauxlet/v1alpha1`},
		{name: "other version", text: "apiVersion: fauxlet/v2\nkind: Scenario", want: `apiVersion "fauxlet/v2"`},
		{name: "other kind", text: "apiVersion: v1\nkind: Pod\nspec: {}", want: `apiVersion "v1", kind "Pod"`},
		{name: "unknown field", text: head + "podz: []", want: `unknown field "podz"`},
		{name: "field in other case", text: head + "Pods: []", want: `unknown field "Pods"`},
		{name: "unknown field of a pod",
			text: head + "pods:\n- metadata: {name: a}\n  spec: {containers: [{name: a, comand: []}]}",
			want: `unknown field "pods[0].spec.containers[0].comand"`},
		{name: "unknown field of a container", text: head + nginx + "containers:\n- {pod: nginx, stat: Error}",
			want: `unknown field "containers[0].stat"; correct the spelling`},
		{name: "unknown field of a log", text: head + nginx + "containers:\n- {pod: nginx, log: {intervall: 1s}}",
			want: `unknown field "containers[0].log.intervall"`},
		{name: "unknown field of a fault", text: head + "faults:\n- {kind: cut, aftr: 1}",
			want: `unknown field "faults[0].aftr"`},
		{name: "duplicate field", text: head + nginx + "pods: []", want: `key "pods" already set in map`},
		{name: "number of another type",
			text: head + nginx + "containers:\n- {pod: nginx}\n- {pod: nginx, log: {lines: ten}}",
			want: "containers[1]: json: cannot unmarshal string"},
		{name: "name of another type", text: head + nginx + "containers:\n- {pod: 7}",
			want: "containers[0]: json: cannot unmarshal number"},
		{name: "bad duration", text: head + nginx + "containers:\n- {pod: nginx, log: {interval: soon}}",
			want: `containers[0]: time: invalid duration "soon"`},
		{name: "pod of another type", text: head + "pods: [7]", want: "pods[0]: json: cannot unmarshal number"},
		{name: "null pod", text: head + "pods: [null]", want: "pods[0]: null is not a pod"},
		{name: "null container", text: head + "containers: [null]", want: "containers[0].pod: missing"},
		{name: "unknown pod", text: head + nginx + "containers:\n- {pod: apache}",
			want: "containers[0].pod: no pod default/apache in this scenario"},
		{name: "pod of another namespace", text: head + nginx + "containers:\n- {namespace: x, pod: nginx}",
			want: "containers[0].pod: no pod x/nginx"},
		{name: "unknown container", text: head + nginx + "containers:\n- {pod: nginx, container: sidecar}",
			want: `containers[0].container: pod default/nginx has no container "sidecar"; its containers are nginx`},
		{name: "no pod named", text: head + nginx + "containers:\n- {container: nginx}",
			want: "containers[0].pod: missing"},
		{name: "bad pattern", text: head + nginx + "containers:\n- {pod: 'web-['}",
			want: `containers[0].pod: "web-[": syntax error in pattern`},
		{name: "container described twice",
			text: head + nginx + "containers:\n- {pod: nginx}\n- {pod: nginx, container: nginx}",
			want: "containers[1]: container nginx of pod default/nginx is already described in containers[0]"},
		{name: "invalid container", text: head + "containers:\n- {pod: '*', exits: {code: 300}}",
			want: "containers[0].exits.code: 300: must be from 0 to 255"},
		{name: "invalid log", text: head + "containers:\n- {pod: '*', log: {lines: -1}}",
			want: "containers[0].log: lines: -1"},
		{name: "negative nodes", text: head + "nodes: -3", want: "nodes: -3: must not be negative"},
		{name: "invalid fault", text: head + "faults: [{kind: cut}, {kind: fire}]", want: `faults[1].kind: "fire"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := scenario.Parse([]byte(test.text), scenario.Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want an error that contains %q", err, test.want)
			}
		})
	}
	_, err := scenario.Load(filepath.Join(t.TempDir(), "none.yaml"), scenario.Options{})
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing file: error %v, want an error that contains the name of the file", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(head + nginx + "containers:\n- {pod: nginx, log: {interval: 1s}}")
	f.Add(head + "pods: [null]\ncontainers: [null, {}]")
	f.Add(head + "faults: [null]")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := scenario.Parse([]byte(text), scenario.Options{})
		if err != nil {
			return
		}
		for _, pod := range s.Pods {
			s.ContainersOf(pod)
		}
	})
}
