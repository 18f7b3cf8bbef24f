package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	fauxpods "fauxlet/internal/pods"
)

// measuredPods are pods of which something is measured, and some of which nothing is.
func measuredPods() []pod {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	log := []line{{at, "one"}}
	return []pod{
		{"default", "nginx", []container{{name: "nginx", log: log}, {name: "sidecar", log: log}}},
		{"kube-system", "resolver", []container{{name: "setup", log: log, init: true}, {name: "dns", log: log}, {name: "broken", log: log, crashes: true}}},
		{"default", "crashes", []container{{name: "broken", log: log, crashes: true}}},
	}
}

// measuredPaths are the endpoints that tell what is used.
var measuredPaths = []string{
	"/metrics/resource", "/metrics/cadvisor", "/metrics/probes", "/stats/summary", "/stats/summary?only_cpu_and_memory=true", "/stats/summary/?only_cpu_and_memory=1",
}

// TestSameShapes asks both what is used, within one interval of the measurement, and compares names, labels, types, help
// and every value but those of when, and of the machine that the reference runs on.
func TestSameShapes(t *testing.T) {
	reviews := startReviews(t)
	for name, with := range map[string]settings{
		"defaults":         {},
		"systemd":          {"cgroupDriver": "systemd"},
		"cgroup root":      {"cgroupRoot": "/stand-in"},
		"from the runtime": {"featureGates": map[string]bool{"PodAndContainerStatsFromCRI": true}},
	} {
		t.Run(name, func(t *testing.T) {
			shared := settings{"readOnlyPort": freePort(t), "authorization.mode": "AlwaysAllow"}
			for path, value := range with {
				shared[path] = value
			}
			var both [2]*kubelet
			for i, kind := range []string{"reference", "fauxlet"} {
				shared["readOnlyPort"] = freePort(t)
				both[i] = startKubelet(t, nil, kubeletOptions{kind: kind, port: freePort(t), kubeconfig: reviews.kubeconfig, settings: shared, pods: measuredPods()})
			}
			for _, path := range measuredPaths {
				var answers [2]answer
				eventually(t, 2*fauxpods.Interval, "both answer within one interval", func() string {
					before := time.Now().Truncate(fauxpods.Interval)
					for i, k := range both {
						request, err := http.NewRequest(http.MethodGet, "http://"+k.readOnly+path, nil)
						must(t, err)
						answers[i] = send(t, &http.Transport{DisableKeepAlives: true}, request)
					}
					if !time.Now().Truncate(fauxpods.Interval).Equal(before) {
						return "the interval ended"
					}
					return ""
				})
				want, got := answers[0], answers[1]
				if got.status != http.StatusOK || want.status != got.status {
					t.Errorf("%s: reference %d %s, fauxlet %d %s", path, want.status, want.body, got.status, got.body)
					continue
				}
				for _, header := range []string{"Content-Type", "Cache-Control", "X-Content-Type-Options"} {
					if want.header.Get(header) != got.header.Get(header) {
						t.Errorf("%s: %s: reference %q, fauxlet %q", path, header, want.header.Get(header), got.header.Get(header))
					}
				}
				if (want.header.Get("Process-Start-Time-Unix") == "") != (got.header.Get("Process-Start-Time-Unix") == "") {
					t.Errorf("%s: Process-Start-Time-Unix: reference %q, fauxlet %q", path, want.header.Get("Process-Start-Time-Unix"), got.header.Get("Process-Start-Time-Unix"))
				}
				shape := func(t testing.TB, text string) any { return metricsShape(t, text) }
				if strings.HasPrefix(path, "/stats/") {
					shape = summaryShape
				}
				if diff := cmp.Diff(shape(t, want.body), shape(t, got.body)); diff != "" {
					t.Errorf("%s: (-reference +fauxlet)\n%s", path, diff)
				}
			}
		})
	}
}

// ofThisProcess are metrics whose value, or time, is that of the process or of the scrape.
var ofThisProcess = regexp.MustCompile(`^((?:process_start_time_seconds|container_last_seen\{[^}]*\})) .*$`)

// metricsShape are the lines of an exposition, in order, with the values.
func metricsShape(t testing.TB, text string) []string {
	t.Helper()
	var shape []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		// Hidden since 1.29. The reference, which is built without the version of its release, takes itself for 0.0.0.
		if strings.HasPrefix(line, "scrape_error ") || strings.HasPrefix(line, "# HELP scrape_error ") || strings.HasPrefix(line, "# TYPE scrape_error ") {
			continue
		}
		shape = append(shape, ofThisProcess.ReplaceAllString(line, "$1"))
	}
	return shape
}

// summaryShape is a summary without when logs and processes were looked at, and without what is of the machine. What a
// kubelet tells in the order of a Go map, which is none, is put in order.
func summaryShape(t testing.TB, text string) any {
	t.Helper()
	var summary statsapi.Summary
	must(t, json.Unmarshal([]byte(text), &summary))
	slices.SortFunc(summary.Node.SystemContainers, func(a, b statsapi.ContainerStats) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(summary.Pods, func(a, b statsapi.PodStats) int { return strings.Compare(a.PodRef.UID, b.PodRef.UID) })
	for i := range summary.Pods {
		slices.SortFunc(summary.Pods[i].Containers, func(a, b statsapi.ContainerStats) int { return strings.Compare(a.Name, b.Name) })
	}
	data, err := json.Marshal(summary)
	must(t, err)
	var shape map[string]any
	must(t, json.Unmarshal(data, &shape))
	node := shape["node"].(map[string]any)
	if rlimit, there := node["rlimit"].(map[string]any); there {
		for name := range rlimit {
			rlimit[name] = "of the machine"
		}
		node["startTime"] = "of the machine"
	}
	for _, one := range node["systemContainers"].([]any) {
		if system := one.(map[string]any); system["name"] == "kubelet" {
			system["startTime"] = "of the process"
		}
	}
	looked := func(at any, name string) {
		if fs, there := at.(map[string]any)[name].(map[string]any); there {
			fs["time"] = "of the request"
		}
	}
	for _, pod := range shape["pods"].([]any) {
		looked(pod, "ephemeral-storage")
		for _, container := range pod.(map[string]any)["containers"].([]any) {
			looked(container, "logs")
		}
	}
	return shape
}

// cadvisorLint is what promtool has to say of cAdvisor's names, which are what they are.
const cadvisorLint = `cadvisor_version_info label names should be written in 'snake_case' not 'camelCase'
container_fs_inodes_total non-counter metrics should not have "_total" suffix
container_memory_failcnt counter metrics should have "_total" suffix`

// TestPromtool lints all metrics. Where it complains of a name of fauxlet's, it does so of the reference's.
func TestPromtool(t *testing.T) {
	reviews := startReviews(t)
	for _, kind := range []string{"fauxlet", "reference"} {
		t.Run(kind, func(t *testing.T) {
			k := startKubelet(t, nil, kubeletOptions{
				kind: kind, port: freePort(t), kubeconfig: reviews.kubeconfig, settings: settings{"readOnlyPort": freePort(t)}, pods: measuredPods(),
			})
			for path, want := range map[string]string{"/metrics": "", "/metrics/resource": "", "/metrics/probes": "", "/metrics/cadvisor": cadvisorLint} {
				request, err := http.NewRequest(http.MethodGet, "http://"+k.readOnly+path, nil)
				must(t, err)
				got := send(t, &http.Transport{DisableKeepAlives: true}, request)
				if got.status != http.StatusOK {
					t.Fatalf("%s: %d %s", path, got.status, got.body)
				}
				lint := exec.Command(debian(t, "promtool", "prometheus"), "check", "metrics")
				lint.Stdin = strings.NewReader(got.body)
				said := run(t, lint)
				complaints := strings.Split(strings.TrimSpace(said.stderr), "\n")
				slices.Sort(complaints)
				if complaint := strings.Join(slices.Compact(complaints), "\n"); complaint != want && (kind == "fauxlet" || path != "/metrics") {
					t.Errorf("%s: status %d: %s", path, said.status, complaint)
				} else if complaint != want {
					t.Logf("%s: promtool on a kubelet's own names:\n%s", path, complaint)
				}
			}
		})
	}
}

// debian finds a program of one of Debian's packages.
func debian(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v; apt-get install --no-install-recommends %s", err, pkg)
	}
	return path
}

// scraping may read metrics and statistics of nodes, and no more.
const scraping = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraping}
rules:
- {apiGroups: [""], resources: [nodes/metrics, nodes/stats], verbs: [get]}
- {apiGroups: [""], resources: [nodes, pods, namespaces], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraping}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraping}
subjects:
- {kind: ServiceAccount, namespace: default, name: scraper}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: scraper}
`

// apply makes objects known to the apiserver, until the test ends.
func (c *controlPlane) apply(t testing.TB, manifest string) {
	t.Helper()
	apply := func(verb string, more ...string) {
		cmd := c.kubectlCommand(t, context.Background(), append([]string{verb, "-f", "-"}, more...)...)
		cmd.Stdin = strings.NewReader(manifest)
		if said := run(t, cmd); said.status != 0 {
			t.Fatalf("kubectl %s: %s", verb, said.stderr)
		}
	}
	apply("apply")
	t.Cleanup(func() { apply("delete", "--wait=false") })
}

// TestPrometheus has a real Prometheus scrape, with a token of a service account and with a client certificate.
func TestPrometheus(t *testing.T) {
	prometheus := debian(t, "prometheus", "prometheus")
	plane := withFlags(t, bare)
	plane.apply(t, scraping)
	token, _ := plane.token(t, "scraper")
	certFile, keyFile, err := plane.pki.pair("scraper", plane.pki.client("scraper"))
	must(t, err)
	k := startKubelet(t, plane, kubeletOptions{settings: servingCertificate(t), pods: measuredPods()})

	dir := t.TempDir()
	paths := []string{"/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes"}
	var jobs []map[string]any
	for _, path := range paths {
		for _, credential := range []string{"token", "certificate"} {
			job := map[string]any{
				"job_name": credential + " " + path, "scheme": "https", "metrics_path": path, "scrape_interval": "1s", "scrape_timeout": "1s",
				"static_configs": []any{map[string]any{"targets": []string{k.secure}}},
			}
			tls := map[string]any{"ca_file": plane.pki.caFile}
			if credential == "token" {
				job["authorization"] = map[string]any{"credentials": token}
			} else {
				tls["cert_file"], tls["key_file"] = certFile, keyFile
			}
			job["tls_config"] = tls
			jobs = append(jobs, job)
		}
	}
	config := writeYAML(t, filepath.Join(dir, "prometheus.yaml"), map[string]any{"scrape_configs": jobs})
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p, err := start("prometheus", prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	must(t, err)
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		p.tell(t, 0)
	})
	ask := func(path string, into any) string {
		answer, err := http.Get("http://" + address + "/api/v1/" + path)
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			return err.Error()
		}
		return ""
	}
	eventually(t, time.Minute, "all targets are up", func() string {
		var targets struct {
			Data struct {
				ActiveTargets []struct{ ScrapePool, Health, LastError string }
			}
		}
		if problem := ask("targets", &targets); problem != "" {
			return problem
		}
		if len(targets.Data.ActiveTargets) != len(jobs) {
			return fmt.Sprintf("%d targets, want %d", len(targets.Data.ActiveTargets), len(jobs))
		}
		for _, target := range targets.Data.ActiveTargets {
			if target.Health != "up" {
				return target.ScrapePool + " is " + target.Health + ": " + target.LastError
			}
		}
		return ""
	})
	// The two endpoints tell Prometheus the same, and what it makes of them is what the kubelet says of itself.
	eventually(t, 5*fauxpods.Interval, "a rate of each", func() string {
		rates := map[string]string{}
		for _, job := range []string{"token /metrics/cadvisor", "certificate /metrics/resource"} {
			var result struct {
				Data struct {
					Result []struct{ Value []any }
				}
			}
			query := fmt.Sprintf(`query?query=irate(container_cpu_usage_seconds_total%%7Bcontainer%%3D%%22nginx%%22%%2Cjob%%3D%%22%s%%22%%7D%%5B2m%%5D)`, strings.NewReplacer(" ", "%20", "/", "%2F").Replace(job))
			if problem := ask(query, &result); problem != "" {
				return problem
			}
			if len(result.Data.Result) != 1 {
				return fmt.Sprintf("%s: %d series", job, len(result.Data.Result))
			}
			rates[job] = fmt.Sprint(result.Data.Result[0].Value[1])
		}
		summary := k.summary(t, identity{token: token})
		var want string
		for _, pod := range summary.Pods {
			for _, c := range pod.Containers {
				if c.Name == "nginx" {
					want = fmt.Sprintf("%.6f", float64(*c.CPU.UsageNanoCores)/1e9)
				}
			}
		}
		for job, rate := range rates {
			var cores float64
			_, err := fmt.Sscan(rate, &cores)
			must(t, err)
			if got := fmt.Sprintf("%.6f", cores); got != want {
				return fmt.Sprintf("%s: a rate of %s, want %s", job, got, want)
			}
		}
		return ""
	})
}

// summary is the answer of /stats/summary.
func (k *kubelet) summary(t testing.TB, as identity) *statsapi.Summary {
	t.Helper()
	got := k.get(t, "/stats/summary", as)
	if got.status != http.StatusOK {
		t.Fatalf("/stats/summary: %d %s", got.status, got.body)
	}
	var summary statsapi.Summary
	must(t, json.Unmarshal([]byte(got.body), &summary))
	return &summary
}
