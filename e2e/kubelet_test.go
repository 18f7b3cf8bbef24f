package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// underTest is which kubelet the claims are tested of: fauxlet or reference.
func underTest() string {
	if name := os.Getenv("FAUXLET_E2E_KUBELET"); name != "" {
		return name
	}
	return "fauxlet"
}

// settings are fields of a KubeletConfiguration by their paths, as in "authentication.anonymous.enabled".
type settings map[string]any

// yaml is a configuration file. Answers of the apiserver are hardly cached, so that tests need not wait.
func (s settings) yaml(p *pki) ([]byte, error) {
	all := settings{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address":                                    "127.0.0.1",
		"healthzPort":                                0,
		"authentication.x509.clientCAFile":           p.caFile,
		"authentication.webhook.cacheTTL":            "10ms",
		"authorization.webhook.cacheAuthorizedTTL":   "10ms",
		"authorization.webhook.cacheUnauthorizedTTL": "10ms",
	}
	maps.Copy(all, s)
	root := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		at, names := root, strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			if at[name] == nil {
				at[name] = map[string]any{}
			}
			at = at[name].(map[string]any)
		}
		at[names[len(names)-1]] = all[path]
	}
	return yaml.Marshal(root)
}

// pod is a pod of the node under test, with the logs of its containers.
type pod struct {
	namespace, name string
	containers      []container
}

// container has its log line by line, in the format of the CRI.
type container struct {
	name          string
	log, previous []line
	grows         bool // a line is added to the log every 100 ms
	init          bool // it is an init container, and has ended
	crashes       bool // it waits to be started again
	creating      bool // it has not been started yet
}

type line struct {
	at   time.Time
	text string
}

// nginx is the pod of the article.
func nginx() pod {
	at := time.Now().Add(-time.Minute)
	return pod{"default", "nginx", []container{{name: "nginx", log: []line{{at, "GET / 200"}, {at.Add(time.Second), "GET /favicon.ico 404"}}}}}
}

const nginxLog = "GET / 200\nGET /favicon.ico 404\n"

func (p pod) object() *v1.Pod {
	began := metav1.NewTime(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)) // the same in each run of a comparison
	object := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.namespace, Name: p.name, UID: types.UID("8a5a2b1c-0000-4000-8000-" + fmt.Sprintf("%012x", len(p.name))), CreationTimestamp: began},
		Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways},
		Status:     v1.PodStatus{Phase: v1.PodRunning, StartTime: &began},
	}
	for i, c := range p.containers {
		status := v1.ContainerStatus{Name: c.name, Image: c.name + ":1", ContainerID: "containerd://" + strconv.Itoa(i), Ready: !c.crashes && !c.creating}
		ended := func(code int32, id string) *v1.ContainerStateTerminated {
			return &v1.ContainerStateTerminated{ExitCode: code, ContainerID: id, StartedAt: began, FinishedAt: began}
		}
		switch {
		case c.init:
			status.State.Terminated = ended(0, status.ContainerID)
		case c.crashes:
			status.State.Waiting = &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
			status.RestartCount, status.LastTerminationState.Terminated = 2, ended(1, status.ContainerID)
		case c.creating:
			status.ContainerID, status.State.Waiting = "", &v1.ContainerStateWaiting{Reason: "ContainerCreating"}
		default:
			status.State.Running = &v1.ContainerStateRunning{StartedAt: began}
		}
		if c.previous != nil && !c.crashes {
			status.RestartCount, status.LastTerminationState.Terminated = 1, ended(1, status.ContainerID+"-previous")
		}
		spec := v1.Container{Name: c.name, Image: status.Image}
		if c.init {
			object.Spec.InitContainers = append(object.Spec.InitContainers, spec)
			object.Status.InitContainerStatuses = append(object.Status.InitContainerStatuses, status)
		} else {
			object.Spec.Containers = append(object.Spec.Containers, spec)
			object.Status.ContainerStatuses = append(object.Status.ContainerStatuses, status)
		}
	}
	return object
}

// kubelet is the one under test: a process.
type kubelet struct {
	*process
	node             string
	dir, certDir     string
	secure, readOnly string // addresses; readOnly is empty where it is off
	port             int
}

// kubeletOptions are what tests vary.
type kubeletOptions struct {
	kind       string // of kubelet; empty: the one under test
	node       string // empty: node-1
	port       int    // 0: a free one
	dir        string // of its configuration; empty: a new one
	certDir    string // empty: in dir
	kubeconfig string // empty: the node's own credential for the control plane
	settings   settings
	pods       []pod // nil: nginx
	args       []string
}

// startKubelet starts the kubelet under test with a credential of its node for the plane. It is stopped with the test.
func startKubelet(t testing.TB, plane *controlPlane, o kubeletOptions) *kubelet {
	t.Helper()
	if o.node == "" {
		o.node = "node-1"
	}
	if o.kind == "" {
		o.kind = underTest()
	}
	if o.pods == nil {
		o.pods = []pod{nginx()}
	}
	k := &kubelet{node: o.node, dir: o.dir, certDir: o.certDir}
	if k.dir == "" {
		k.dir = t.TempDir()
	}
	if k.certDir == "" {
		k.certDir = filepath.Join(k.dir, "pki")
	}
	if o.kubeconfig == "" {
		o.kubeconfig = filepath.Join(k.dir, "kubeconfig")
		must(t, plane.writeKubeconfig(o.kubeconfig, "system:node:"+o.node, "system:nodes"))
	}
	p, err := certificates()
	must(t, err)
	config, err := o.settings.yaml(p)
	must(t, err)
	own := filepath.Join(k.dir, o.kind) // what the two are given in ways of their own
	must(t, os.Mkdir(own, 0o755))
	configFile, ready := filepath.Join(k.dir, "kubelet.yaml"), filepath.Join(own, "ready.json")
	must(t, os.WriteFile(configFile, config, 0o644))

	args := []string{"--config", configFile, "--kubeconfig", o.kubeconfig, "--hostname-override", o.node,
		"--cert-dir", k.certDir, "--register-node=false", "--port", strconv.Itoa(o.port), "--ready-file", ready, "-v=2"}
	args = append(args, o.args...)
	logs := writeLogs(t, filepath.Join(own, "logs"), o.pods)
	switch o.kind {
	case "fauxlet":
		args = append([]string{"serve"}, append(args, "--scenario", writeScenario(t, own, logs, o.pods))...)
	case "reference":
		args = append(args, "--pods", writePods(t, own, o.pods), "--logs", logs, "--node-logs", writeNodeLogs(t, filepath.Join(own, "node-logs")))
	default:
		t.Fatalf("FAUXLET_E2E_KUBELET=%s: fauxlet or reference", o.kind)
	}
	k.process, err = start(o.kind, binary(t, o.kind), args...)
	must(t, err)
	t.Cleanup(func() {
		if err := k.stop(); err != nil {
			t.Error(err)
		}
		k.tell(t, 0)
	})

	var open struct{ Secure, ReadOnly string }
	eventually(t, time.Minute, o.kind+" is ready", func() string {
		select {
		case <-k.ended:
			t.Fatalf("%s has ended: %v", o.kind, k.err)
		default:
		}
		data, err := os.ReadFile(ready)
		if err == nil {
			err = json.Unmarshal(data, &open)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	k.secure, k.readOnly = open.Secure, open.ReadOnly
	k.port, err = strconv.Atoi(k.secure[strings.LastIndex(k.secure, ":")+1:])
	must(t, err)
	return k
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writePods writes them for the reference.
func writePods(t testing.TB, dir string, pods []pod) string {
	t.Helper()
	list := v1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for _, pod := range pods {
		list.Items = append(list.Items, *pod.object())
	}
	return writeYAML(t, filepath.Join(dir, "pods.yaml"), list)
}

// writeScenario writes the same for fauxlet.
func writeScenario(t testing.TB, dir, logs string, pods []pod) string {
	t.Helper()
	var objects []*v1.Pod
	var entries []map[string]any
	for _, pod := range pods {
		objects = append(objects, pod.object())
		for _, c := range pod.containers {
			entry := map[string]any{"file": logFile(logs, pod, c, "")}
			if c.grows {
				entry = map[string]any{"interval": "100ms"}
			}
			if c.previous != nil {
				entry["previous"] = map[string]any{"file": logFile(logs, pod, c, ".previous")}
			}
			entries = append(entries, map[string]any{"namespace": pod.namespace, "pod": pod.name, "container": c.name, "log": entry})
		}
	}
	return writeYAML(t, filepath.Join(dir, "scenario.yaml"), map[string]any{
		"apiVersion": "fauxlet/v1alpha1", "kind": "Scenario", "pods": objects, "containers": entries, "nodeLogs": nodeLogs,
	})
}

// nodeLogs are the node's own, below /var/log.
var nodeLogs = map[string]string{
	"kubelet.log": "started\nserving\n", "empty.log": "", "containers/a&b.log": "a\n", "containers/deep/er/c.log": "c\n", "noext": "plain",
}

// writeNodeLogs writes them for the reference.
func writeNodeLogs(t testing.TB, dir string) string {
	t.Helper()
	for name, text := range nodeLogs {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func writeYAML(t testing.TB, path string, object any) string {
	t.Helper()
	data, err := yaml.Marshal(object)
	must(t, err)
	must(t, os.WriteFile(path, data, 0o644))
	return path
}

func logFile(dir string, p pod, c container, attempt string) string {
	return filepath.Join(dir, p.namespace+"_"+p.name+"_"+c.name+attempt+".log")
}

// writeLogs writes logs as a container runtime does, and goes on writing those that grow until the test ends.
func writeLogs(t testing.TB, dir string, pods []pod) string {
	t.Helper()
	must(t, os.Mkdir(dir, 0o755))
	for _, pod := range pods {
		for _, c := range pod.containers {
			must(t, appendLog(logFile(dir, pod, c, ""), c.log))
			if c.previous != nil {
				must(t, appendLog(logFile(dir, pod, c, ".previous"), c.previous))
			}
			if c.grows {
				done, ended := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(ended)
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case now := <-tick.C:
							_ = appendLog(logFile(dir, pod, c, ""), []line{{now, "written at " + now.String()}})
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

func appendLog(path string, lines []line) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "%s stdout F %s\n", l.at.Format(time.RFC3339Nano), l.text)
	}
	_, err = file.WriteString(text.String())
	return err
}
