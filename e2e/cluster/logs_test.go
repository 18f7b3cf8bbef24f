package cluster

import (
	"bufio"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
)

func TestKubectlLogsOptions(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	now := time.Now().Truncate(time.Second)
	main := []sample.Line{{At: now.Add(-2 * time.Hour), Text: "oldest"},
		{At: now.Add(-30 * time.Minute), Text: "older"},
		{At: now.Add(-time.Minute), Text: "old"}}
	web := sample.Pod{Namespace: "shop", Name: "web", Containers: []sample.Container{
		{Name: "main", Log: main, Previous: []sample.Line{{At: now.Add(-3 * time.Hour), Text: "last words"}}},
		{Name: "sidecar", Log: []sample.Line{{At: now.Add(-time.Minute), Text: "beside"}}},
	}}
	k := kubelet.Start(t, plane, kubelet.Options{Pods: []sample.Pod{web}})
	plane.Register(t, k.Node, k.Port, web)

	stamped := ""
	for _, l := range main {
		stamped += l.At.UTC().Format("2006-01-02T15:04:05.000000000Z") + " " + l.Text + "\n"
	}
	defaulted := "Defaulted container \"main\" out of: main, sidecar\n"
	for _, test := range []struct {
		args string
		want programs.Result
	}{
		{"-c main", programs.Result{Stdout: "oldest\nolder\nold\n"}},
		{"-c sidecar", programs.Result{Stdout: "beside\n"}},
		{"", programs.Result{Stdout: "oldest\nolder\nold\n", Stderr: defaulted}},
		{"-c main --tail 1", programs.Result{Stdout: "old\n"}},
		{"-c main --tail 0", programs.Result{}},
		{"-c main --tail 9", programs.Result{Stdout: "oldest\nolder\nold\n"}},
		{"-c main --since 1h", programs.Result{Stdout: "older\nold\n"}},
		{"-c main --since-time " + now.Add(-10*time.Minute).UTC().Format(time.RFC3339),
			programs.Result{Stdout: "old\n"}},
		{"-c main --timestamps", programs.Result{Stdout: stamped}},
		{"-c main --limit-bytes 9", programs.Result{Stdout: "oldest\nol"}},
		{"-c main --tail 2 --limit-bytes 3", programs.Result{Stdout: "old"}},
		{"-c main -p", programs.Result{Stdout: "last words\n"}},
		{"--all-containers", programs.Result{Stdout: sorted("oldest\nolder\nold\nbeside\n")}},
		{"--all-containers --prefix --tail 1",
			programs.Result{Stdout: "[pod/web/main] old\n[pod/web/sidecar] beside\n"}},
		{"-c sidecar -p", programs.Result{Status: 1,
			Stderr: "Error from server (BadRequest): previous terminated container \"sidecar\" in pod \"web\" " +
				"not found\n"}},
		{"-c other",
			programs.Result{Status: 1,
				Stderr: "error: container other is not valid for pod web out of: main, sidecar\n"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := plane.Kubectl(t, append([]string{"logs", "-n", "shop", "web"}, strings.Fields(test.args)...)...)
			if strings.HasPrefix(test.args, "--all-containers") { // in any order
				got.Stdout = sorted(got.Stdout)
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
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	growing := sample.Nginx()
	growing.Containers[0].Grows = true
	k := kubelet.Start(t, plane, kubelet.Options{Pods: []sample.Pod{growing}})
	plane.Register(t, k.Node, k.Port, growing)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := plane.KubectlCommand(t, ctx, "logs", "-f", "--tail=2", "nginx")
	stdout, err := cmd.StdoutPipe()
	expect.NoError(t, err)
	expect.NoError(t, cmd.Start())
	began, lines := time.Now(), bufio.NewScanner(stdout)
	for i := range 8 {
		if !lines.Scan() {
			t.Fatalf("line %d: the log ended: %v", i, lines.Err())
		}
	}
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("8 lines arrived after %v, so more than 2 of them were written before the request", took)
	}
	expect.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	expect.Eventually(t, time.Minute, "the kubelet ends the followed log", func() string {
		inflight := k.Get(t, "/metrics", adminOfKubelets(t, plane)).Body
		at := slices.IndexFunc(strings.Split(inflight, "\n"), func(l string) bool {
			return strings.HasPrefix(l, "kubelet_http_inflight_requests{") &&
				strings.Contains(l, `path="containerLogs"`)
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

// adminOfKubelets returns the credential that kube-apiserver presents to kubelets.
func adminOfKubelets(t testing.TB, plane *controlplane.Plane) kubelet.Credential {
	t.Helper()
	pair, err := plane.PKI.CA.Client("kubelet-client", nil)
	expect.NoError(t, err)
	return kubelet.Credential{Pair: pair}
}
