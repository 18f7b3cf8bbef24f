package scenario_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"fauxlet/scenario"
)

func duration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

func TestValidateContainer(t *testing.T) {
	second := duration(time.Second)
	withLog := func(log scenario.Log) scenario.Container { return scenario.Container{Log: log} }
	withExit := func(exit scenario.Exit) scenario.Container { return scenario.Container{Exits: &exit} }
	for _, test := range []struct {
		name      string
		container scenario.Container
		want      string
	}{
		{name: "start after negative time", container: scenario.Container{StartAfter: duration(-1)},
			want: "startAfter: -1ns: must be from 0 to 87600h0m0s"},
		{name: "ready after too long", container: scenario.Container{ReadyAfter: ptr.To(duration(1 << 62))},
			want: "readyAfter: "},
		{name: "exit after negative time", container: withExit(scenario.Exit{After: duration(-1)}),
			want: "exits.after: -1ns: must be from 0"},
		{name: "exit code too high", container: withExit(scenario.Exit{Code: 256}),
			want: "exits.code: 256: must be from 0 to 255"},
		{name: "unknown exit reason", container: withExit(scenario.Exit{Reason: "Tired"}),
			want: `exits.reason: "Tired": must be one of Completed, ContainerCannotRun, Error, OOMKilled`},
		{name: "completed with a code", container: withExit(scenario.Exit{Reason: "Completed", Code: 1}),
			want: `exits.reason: "Completed": is the reason for exit code 0, but code is 1`},
		{name: "negative exit times", container: withExit(scenario.Exit{Times: -1}),
			want: "exits.times: -1: must not be negative"},
		{name: "exit message too long", container: withExit(scenario.Exit{Message: strings.Repeat("x", 4097)}),
			want: "exits.message: must be at most 4096 bytes, as in a kubelet, but has 4097 bytes"},
		{name: "stop after negative time", container: scenario.Container{Stops: scenario.Stop{After: duration(-1)}},
			want: "stops.after: -1ns: must be from 0"},
		{name: "negative stop code", container: scenario.Container{Stops: scenario.Stop{Code: -1}},
			want: "stops.code: -1: must be from 0 to 255"},
		{name: "unknown state", container: scenario.Container{State: "Crashed"},
			want: `state: "Crashed": must be Running, a waiting reason (ContainerCreating, CrashLoopBackOff`},
		{name: "state and startAfter", container: scenario.Container{State: "OOMKilled", StartAfter: second},
			want: `state: "OOMKilled": this state never changes; remove startAfter`},
		{name: "state and readyAfter", container: scenario.Container{State: "OOMKilled", ReadyAfter: &second},
			want: `state: "OOMKilled": this state never changes`},
		{name: "running and exits", container: scenario.Container{State: "Running", Exits: &scenario.Exit{}},
			want: `state: "Running": this state never changes`},
		{name: "running with times", container: scenario.Container{
			State: "Running", StartAfter: second, ReadyAfter: &second, Stops: scenario.Stop{After: second, Code: 143}}},
		{name: "negative interval", container: withLog(scenario.Log{Interval: duration(-time.Second)}),
			want: "log: interval: -1s: must not be negative"},
		{name: "negative lines", container: withLog(scenario.Log{Lines: -1}),
			want: "log: lines: -1: must not be negative"},
		{name: "too many lines", container: withLog(scenario.Log{Lines: 1 << 40}),
			want: "lines: 1099511627776: too many"},
		{name: "stderr above 1", container: withLog(scenario.Log{Stderr: 1.5}),
			want: "stderr: 1.5: must be from 0 to 1"},
		{name: "text and file", container: withLog(scenario.Log{Text: "a", File: "b"}),
			want: "text and file: both are set"},
		{name: "text and lines", container: withLog(scenario.Log{Text: "a", Lines: 3}),
			want: "lines and seed are for generated lines"},
		{name: "invalid previous log", container: withLog(scenario.Log{Previous: &scenario.Log{Lines: -1}}),
			want: "previous.lines: -1"},
		{name: "two previous logs",
			container: withLog(scenario.Log{Previous: &scenario.Log{Previous: &scenario.Log{}}}),
			want:      "previous.previous: a kubelet keeps only one"},
		{name: "answer's exit code", container: scenario.Container{Exec: []scenario.ExecAnswer{{}, {ExitCode: 256}}},
			want: "exec[1].exitCode: 256: must be from 0 to 255"},
		{name: "answer's delay", container: scenario.Container{Exec: []scenario.ExecAnswer{{Delay: duration(-1)}}},
			want: "exec[0].delay: -1ns: must be from 0 to 24h"},
		{name: "relative file", container: scenario.Container{Files: map[string]string{"etc/motd": ""}},
			want: `files: "etc/motd": must be the absolute path`},
		{name: "file below a file", container: scenario.Container{Files: map[string]string{"/a": "", "/a/b/c": ""}},
			want: `files: "/a/b/c": /a is a file, not a directory; remove one of them`},
		{name: "large disk", container: scenario.Container{Disk: resource.MustParse("1Gi")},
			want: "disk: 1Gi: must be from 1Mi to 256Mi; remove the field for the default"},
		{name: "small disk", container: scenario.Container{Disk: resource.MustParse("1000")},
			want: "disk: 1k: must be from 1Mi to 256Mi; remove the field for the default"},
		{name: "port zero", container: scenario.Container{Ports: []scenario.Port{{}}},
			want: "ports[0].port: 0: must be from 1 to 65535"},
		{name: "forward to another host",
			container: scenario.Container{Ports: []scenario.Port{{Port: 80, Forward: "10.0.0.1:80"}}},
			want:      `ports[0].forward: "10.0.0.1:80": the address is not on loopback`},
		{name: "forward to a name",
			container: scenario.Container{Ports: []scenario.Port{{Port: 80, Forward: "localhost:80"}}},
			want:      `it must be an address and port on loopback, as in 127.0.0.1:8080`},
	} {
		t.Run(test.name, func(t *testing.T) { expect(t, test.container.Validate(nil), test.want) })
	}
}

func TestValidateUsage(t *testing.T) {
	limits := v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("64Mi")}
	for _, test := range []struct {
		name        string
		cpu, memory string
		limits      v1.ResourceList
		want        string
	}{
		{name: "no usage"},
		{name: "at the limit", cpu: "0.5", memory: "64Mi", limits: limits},
		{name: "without a limit", cpu: "64", memory: "1Ti"},
		{name: "negative cpu", cpu: "-1",
			want: "usage.cpu: -1: must not be negative; remove the field for the default"},
		{name: "negative memory", memory: "-1Mi", want: "usage.memory: -1Mi: must not be negative"},
		{name: "more cpu than any node", cpu: "5000", want: "usage.cpu: 5k: must be at most 4096"},
		{name: "cpu beyond int64", cpu: "1e30", want: "must be at most 4096"},
		{name: "cpu above the limit", cpu: "501m", limits: limits,
			want: "usage.cpu: 501m: must be at most the container's limit, 500m"},
		{name: "memory above the limit", memory: "65Mi", limits: limits,
			want: "lower the usage or raise resources.limits.memory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c scenario.Container
			if test.cpu != "" {
				c.Usage.CPU = resource.MustParse(test.cpu)
			}
			if test.memory != "" {
				c.Usage.Memory = resource.MustParse(test.memory)
			}
			expect(t, c.Validate(test.limits), test.want)
		})
	}
}

// expect fails the test unless err contains want. If want is empty, err must be nil.
func expect(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want an error that contains %q", err, want)
	}
}

func TestContainerFieldNames(t *testing.T) {
	var got scenario.Container
	if err := yaml.UnmarshalStrict([]byte(`
startAfter: 3s
readyAfter: 0s
exits: {after: 1m, code: 3, reason: Error, message: bye, times: 2}
stops: {after: 5s, code: 143}
`), &got); err != nil {
		t.Fatal(err)
	}
	want := scenario.Container{
		StartAfter: duration(3 * time.Second), ReadyAfter: &metav1.Duration{},
		Exits: &scenario.Exit{After: duration(time.Minute), Code: 3, Reason: "Error", Message: "bye", Times: 2},
		Stops: scenario.Stop{After: duration(5 * time.Second), Code: 143},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
