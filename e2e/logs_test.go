package e2e

import (
	"bufio"
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKubectlLogsOptions(t *testing.T) {
	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	now := time.Now().Truncate(time.Second)
	main := []line{{now.Add(-2 * time.Hour), "oldest"}, {now.Add(-30 * time.Minute), "older"}, {now.Add(-time.Minute), "old"}}
	web := pod{"shop", "web", []container{
		{name: "main", log: main, previous: []line{{now.Add(-3 * time.Hour), "last words"}}},
		{name: "sidecar", log: []line{{now.Add(-time.Minute), "beside"}}},
	}}
	k := startKubelet(t, plane, kubeletOptions{pods: []pod{web}})
	plane.register(t, k.node, k.port, web)

	stamped := ""
	for _, l := range main {
		stamped += l.at.UTC().Format("2006-01-02T15:04:05.000000000Z") + " " + l.text + "\n"
	}
	defaulted := "Defaulted container \"main\" out of: main, sidecar\n"
	for _, test := range []struct {
		args string
		want said
	}{
		{"-c main", said{stdout: "oldest\nolder\nold\n"}},
		{"-c sidecar", said{stdout: "beside\n"}},
		{"", said{stdout: "oldest\nolder\nold\n", stderr: defaulted}},
		{"-c main --tail 1", said{stdout: "old\n"}},
		{"-c main --tail 0", said{}},
		{"-c main --tail 9", said{stdout: "oldest\nolder\nold\n"}},
		{"-c main --since 1h", said{stdout: "older\nold\n"}},
		{"-c main --since-time " + now.Add(-10*time.Minute).UTC().Format(time.RFC3339), said{stdout: "old\n"}},
		{"-c main --timestamps", said{stdout: stamped}},
		{"-c main --limit-bytes 9", said{stdout: "oldest\nol"}},
		{"-c main --tail 2 --limit-bytes 3", said{stdout: "old"}},
		{"-c main -p", said{stdout: "last words\n"}},
		{"--all-containers", said{stdout: sorted("oldest\nolder\nold\nbeside\n")}},
		{"--all-containers --prefix --tail 1", said{stdout: "[pod/web/main] old\n[pod/web/sidecar] beside\n"}},
		{"-c sidecar -p", said{status: 1, stderr: "Error from server (BadRequest): previous terminated container \"sidecar\" in pod \"web\" not found\n"}},
		{"-c nobody", said{status: 1, stderr: "error: container nobody is not valid for pod web out of: main, sidecar\n"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := plane.kubectl(t, append([]string{"logs", "-n", "shop", "web"}, strings.Fields(test.args)...)...)
			if strings.HasPrefix(test.args, "--all-containers") { // in any order
				got.stdout = sorted(got.stdout)
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func sorted(lines string) string {
	split := strings.SplitAfter(lines, "\n")
	slices.Sort(split)
	return strings.Join(split, "")
}

func TestKubectlLogsFollow(t *testing.T) {
	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	growing := nginx()
	growing.containers[0].grows = true
	k := startKubelet(t, plane, kubeletOptions{pods: []pod{growing}})
	plane.register(t, k.node, k.port, growing)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := plane.kubectlCommand(t, ctx, "logs", "-f", "--tail=2", "nginx")
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	began, lines := time.Now(), bufio.NewScanner(stdout)
	for i := range 8 {
		if !lines.Scan() {
			t.Fatalf("line %d: the log ended: %v", i, lines.Err())
		}
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("8 lines after %v: there were more than the 2 asked for before the 6 that were written since", took)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	eventually(t, time.Minute, "the kubelet lets go of the follower", func() string {
		inflight := k.get(t, "/metrics", adminOfKubelets(t, plane)).body
		at := slices.IndexFunc(strings.Split(inflight, "\n"), func(l string) bool {
			return strings.HasPrefix(l, "kubelet_http_inflight_requests{") && strings.Contains(l, `path="containerLogs"`)
		})
		if at < 0 {
			return "no kubelet_http_inflight_requests of containerLogs"
		}
		if l := strings.Split(inflight, "\n")[at]; !strings.HasSuffix(l, " 0") {
			return l
		}
		return ""
	})
}

// adminOfKubelets is the apiserver's own identity.
func adminOfKubelets(t testing.TB, plane *controlPlane) identity {
	t.Helper()
	pair, err := plane.pki.ca.Client("kubelet-client", nil)
	must(t, err)
	return identity{pair: pair}
}
