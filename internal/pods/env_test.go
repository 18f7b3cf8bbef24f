package pods_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// TestEnv compares the environment variables of a container with the values that a kubelet sets.
// (kubelet: makeEnvironmentVariables)
func TestEnv(t *testing.T) {
	value := func(name, value string) v1.EnvVar { return v1.EnvVar{Name: name, Value: value} }
	field := func(name, path string) v1.EnvVar {
		return v1.EnvVar{Name: name, ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: path}}}
	}
	amount := func(name, container, kind, divisor string) v1.EnvVar {
		ref := &v1.ResourceFieldSelector{ContainerName: container, Resource: kind}
		if divisor != "" {
			ref.Divisor = resource.MustParse(divisor)
		}
		return v1.EnvVar{Name: name, ValueFrom: &v1.EnvVarSource{ResourceFieldRef: ref}}
	}
	pod := newPod("default", "p", "c", "other")
	pod.Labels = map[string]string{"app": "web", "example.com/a['b": "odd"}
	pod.Annotations = map[string]string{"note": "read me"}
	pod.Status = v1.PodStatus{Phase: v1.PodRunning, HostIP: "192.0.2.1",
		HostIPs: []v1.HostIP{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}}, PodIP: "10.0.0.7",
		PodIPs: []v1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00::7"}}, ContainerStatuses: []v1.ContainerStatus{{Name: "c",
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}}
	pod.Spec.Containers[0].Resources = v1.ResourceRequirements{
		Limits: v1.ResourceList{v1.ResourceCPU: resource.MustParse("1500m"),
			"hugepages-2Mi": resource.MustParse("4Mi")},
	}
	pod.Spec.Containers[1].Resources.Requests = v1.ResourceList{v1.ResourceMemory: resource.MustParse("100Mi")}
	for _, test := range []struct {
		name string
		env  []v1.EnvVar
		want string // the variable X
	}{
		{name: "reference", env: []v1.EnvVar{value("A", "1"), value("X", "$(A)-$(A)")}, want: "1-1"},
		{name: "reference to a reference", env: []v1.EnvVar{value("A", "1"), value("B", "$(A)2"), value("X", "$(B)3")},
			want: "123"},
		{name: "reference to a later variable", env: []v1.EnvVar{value("X", "$(A)"), value("A", "1")}, want: "$(A)"},
		{name: "reference to a field", env: []v1.EnvVar{field("A", "metadata.name"), value("X", "$(A)!")}, want: "p!"},
		{name: "reference to a service", env: []v1.EnvVar{value("X", "https://$(KUBERNETES_SERVICE_HOST)")},
			want: "https://10.96.0.1"},
		{name: "no reference", env: []v1.EnvVar{value("A", "1"), value("X", "$$(A) $A ${A} $(A $ $$")},
			want: "$(A) $A ${A} $(A $ $"},
		{name: "dollar before a reference", env: []v1.EnvVar{value("A", "1"), value("X", "$$$(A)")}, want: "$1"},
		{name: "last value", env: []v1.EnvVar{value("X", "1"), value("X", "$(X)2")}, want: "12"},
		{name: "label", env: []v1.EnvVar{field("X", "metadata.labels['app']")}, want: "web"},
		{name: "odd label", env: []v1.EnvVar{field("X", "metadata.labels['example.com/a['b']")}, want: "odd"},
		{name: "no such label", env: []v1.EnvVar{field("X", "metadata.labels['none']")}, want: ""},
		{name: "annotation", env: []v1.EnvVar{field("X", "metadata.annotations['note']")}, want: "read me"},
		{name: "pod IPs", env: []v1.EnvVar{field("X", "status.podIPs")}, want: "10.0.0.7,fd00::7"},
		{name: "host IPs", env: []v1.EnvVar{field("X", "status.hostIPs")}, want: "192.0.2.1,2001:db8::1"},
		{name: "CPU", env: []v1.EnvVar{amount("X", "", "limits.cpu", "")}, want: "2"},
		{name: "millicores", env: []v1.EnvVar{amount("X", "", "limits.cpu", "1m")}, want: "1500"},
		{name: "huge pages", env: []v1.EnvVar{amount("X", "", "limits.hugepages-2Mi", "1Mi")}, want: "4"},
		{name: "no request", env: []v1.EnvVar{amount("X", "", "requests.memory", "")}, want: "0"},
		{name: "request that equals the limit", env: []v1.EnvVar{amount("X", "c", "requests.cpu", "1m")}, want: "1500"},
		{name: "limit of the node", env: []v1.EnvVar{amount("X", "", "limits.memory", "1Gi")}, want: "7"},
		{name: "other container", env: []v1.EnvVar{amount("X", "other", "requests.memory", "1Mi")}, want: "100"},
		{name: "own service address", env: []v1.EnvVar{value("KUBERNETES_SERVICE_HOST", "mine"),
			value("X", "$(KUBERNETES_SERVICE_HOST)")}, want: "mine"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := pod.DeepCopy()
			pod.Spec.Containers[0].Env = test.env
			store, err := pods.NewStoreWith(shell.Executor{}, scenario.Pod{Pod: pod})
			if err != nil {
				t.Fatal(err)
			}
			store.SetAllocatable(v1.ResourceList{v1.ResourceMemory: resource.MustParse("7Gi")})
			var stdout bytes.Buffer
			if err := store.Exec(t.Context(), "default", "p", "c", []string{"env"},
				pods.Streams{Stdout: &stdout}); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(stdout.String(), "\n")
			if !slices.Contains(lines, "X="+test.want) || strings.Count(stdout.String(), "\nX=") > 1 ||
				strings.Count(stdout.String(), "KUBERNETES_SERVICE_HOST=") > 2 {
				t.Errorf("the environment is %q, want X=%s once", lines, test.want)
			}
		})
	}
}

// TestCommandWithVariables checks that the command of a container contains the values of variables.
func TestCommandWithVariables(t *testing.T) {
	store, _ := interactive(t, v1.Container{Command: []string{"echo"}, Args: []string{"$(A)", "$(B)"},
		Env: []v1.EnvVar{{Name: "A", Value: "1"}}})
	stdin, typed := io.Pipe()
	defer typed.Close()
	var stdout bytes.Buffer
	if err := store.Attach(t.Context(), "default", "p", "c", pods.Streams{Stdin: stdin,
		Stdout: &stdout}); err != nil || stdout.String() != "1 $(B)\n" {
		t.Errorf("stdout %q, %v", &stdout, err)
	}
}
