package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testContainer stands for pods.Container, which this package must not import.
type testContainer struct {
	Lines    int64            `json:"lines,omitempty"`
	Interval *metav1.Duration `json:"interval,omitempty"`
	File     struct {
		Path string `json:"path,omitempty"`
	} `json:"file,omitempty"`
}

const head = "apiVersion: fauxlet/v1alpha1\nkind: Scenario\n"

const nginx = `pods:
- metadata: {name: nginx}
  spec: {containers: [{name: nginx}]}
`

func TestScenario(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	text := head + `pods:
- metadata: {name: nginx}
  spec: {containers: [{name: nginx}]}
- metadata: {name: web, namespace: shop, uid: "7"}
  spec: {initContainers: [{name: prepare}], containers: [{name: app}, {name: proxy}]}
containers:
- {pod: nginx, lines: 10, interval: 2s}
- {namespace: shop, pod: web, container: proxy, file: {path: proxy.log}}
- {namespace: shop, pod: web, container: prepare, lines: 1}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := LoadScenario[testContainer](path, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 2 || s.Pods[0].Namespace != "default" || s.Pods[1].UID != "7" {
		t.Errorf("pods = %+v", s.Pods)
	}
	got := s.ContainersOf(s.Pods[0])
	if len(got) != 1 || got["nginx"].Lines != 10 || got["nginx"].Interval.Seconds() != 2 {
		t.Errorf("logs of nginx = %+v", got)
	}
	got = s.ContainersOf(s.Pods[1])
	if len(got) != 2 || got["proxy"].File.Path != "proxy.log" || got["prepare"].Lines != 1 {
		t.Errorf("logs of web = %+v", got)
	}
}

// TestScenarioPatterns: of each container the first entry that is about it says what it is.
func TestScenarioPatterns(t *testing.T) {
	text := head + `containers:
- {pod: web-1, container: proxy, lines: 1}
- {pod: "web-?", container: proxy, lines: 2}
- {pod: "web-*", lines: 3}
- {namespace: "*", pod: "*", lines: 4}
`
	if _, err := ParseScenario[testContainer]([]byte(text), false); err == nil || !strings.Contains(err.Error(), "no pod default/web-1") {
		t.Errorf("of a node that joins no cluster: %v, want that there is no web-1", err)
	}
	s, err := ParseScenario[testContainer]([]byte(text), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		namespace, pod string
		app, proxy     int64
	}{
		{"default", "web-1", 3, 1},
		{"default", "web-2", 3, 2},
		{"default", "web-10", 3, 3},
		{"default", "other", 4, 4},
		{"shop", "web-1", 4, 4},
	} {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: test.namespace, Name: "x"}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "app"}, {Name: "proxy"}}}}
		got := s.ContainersOfNamed(pod, test.pod)
		if got["app"].Lines != test.app || got["proxy"].Lines != test.proxy {
			t.Errorf("%s/%s: app %d, proxy %d; want %d, %d", test.namespace, test.pod, got["app"].Lines, got["proxy"].Lines, test.app, test.proxy)
		}
	}
}

func TestScenarioErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"empty", " \n", "the file is empty"},
		{"not YAML", "a: [", "yaml: line 1: did not find expected node content"},
		{"not an object", "- 1", "not an object with apiVersion and kind"},
		{"no version", "kind: Scenario", `apiVersion "", kind "Scenario": a scenario has apiVersion: fauxlet/v1alpha1`},
		{"other version", "apiVersion: fauxlet/v2\nkind: Scenario", `apiVersion "fauxlet/v2"`},
		{"other kind", "apiVersion: v1\nkind: Pod\nspec: {}", `apiVersion "v1", kind "Pod"`},
		{"unknown field", head + "podz: []", `unknown field "podz"`},
		{"unknown field in other case", head + "Pods: []", `unknown field "Pods"`},
		{"unknown field of a pod", head + "pods:\n- metadata: {name: a}\n  spec: {containers: [{name: a, comand: []}]}",
			`unknown field "pods[0].spec.containers[0].comand"`},
		{"unknown field of a log", head + nginx + "containers:\n- {pod: nginx, intervall: 1s}", `unknown field "containers[0].intervall"`},
		{"unknown field within a log", head + nginx + "containers:\n- {pod: nginx, file: {paht: x}}", `unknown field "containers[0].file.paht"`},
		{"field twice", head + nginx + "pods: []", `key "pods" already set in map`},
		{"log field of another type", head + nginx + "containers:\n- {pod: nginx, lines: ten}", "containers[0]: json: cannot unmarshal string"},
		{"log name of another type", head + nginx + "containers:\n- {pod: 7}", "containers[0].pod: 7 is not a string"},
		{"bad duration", head + nginx + "containers:\n- {pod: nginx, interval: soon}", `containers[0]: time: invalid duration "soon"`},
		{"null pod", head + "pods: [null]", "pods[0]: null is not a pod"},
		{"log of no pod", head + nginx + "containers:\n- {pod: apache}", "containers[0].pod: no pod default/apache in this scenario"},
		{"log of another namespace", head + nginx + "containers:\n- {namespace: x, pod: nginx}", "containers[0].pod: no pod x/nginx"},
		{"log of no container", head + nginx + "containers:\n- {pod: nginx, container: sidecar}", `containers[0].container: pod default/nginx has no container "sidecar"; it has nginx`},
		{"no pod named", head + nginx + "containers:\n- {container: nginx}", "containers[0].pod: missing"},
		{"bad pattern", head + nginx + "containers:\n- {pod: 'web-[', lines: 1}", `containers[0].pod: "web-[": syntax error in pattern`},
		{"log twice", head + nginx + "containers:\n- {pod: nginx}\n- {pod: nginx, container: nginx}", "is described in containers[0] already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ParseScenario[testContainer]([]byte(test.text), false); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := LoadScenario[testContainer](filepath.Join(t.TempDir(), "none.yaml"), false); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing file gives %v", err)
	}
}

func FuzzParseScenario(f *testing.F) {
	f.Add(head + nginx + "containers:\n- {pod: nginx, interval: 1s}")
	f.Add(head + "pods: [null]\ncontainers: [null, {}]")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScenario[testContainer]([]byte(text), false)
		if err != nil {
			return
		}
		for _, pod := range s.Pods {
			s.ContainersOf(pod)
		}
	})
}
