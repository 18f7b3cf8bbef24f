package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/reviews"
	"fauxlet/e2e/internal/sample"
	"fauxlet/internal/podstats"
)

// measuredPods returns pods with and without running containers.
func measuredPods() []sample.Pod {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	log := []sample.Line{{At: at, Text: "one"}}
	return []sample.Pod{
		{Namespace: "default", Name: "nginx", Containers: []sample.Container{{Name: "nginx", Log: log},
			{Name: "sidecar", Log: log}}},
		{Namespace: "kube-system", Name: "resolver",
			Containers: []sample.Container{{Name: "setup", Log: log, Init: true}, {Name: "dns", Log: log},
				{Name: "broken", Log: log, Crashes: true}}},
		{Namespace: "default", Name: "crashes",
			Containers: []sample.Container{{Name: "broken", Log: log, Crashes: true}}},
	}
}

// measuredPaths lists the kubelet's endpoints that report resource use.
var measuredPaths = []string{
	"/metrics/resource", "/metrics/cadvisor", "/metrics/probes", "/stats/summary",
	"/stats/summary?only_cpu_and_memory=true", "/stats/summary/?only_cpu_and_memory=1",
}

// TestMetricsAndSummaryShapesMatchKubelet compares the resource use that fauxlet and the program "reference" report. It
// compares names, labels, types, help texts and all values, except times and values that depend on the machine. Both
// programs must respond within the same measurement interval, because the values change with every measurement.
func TestMetricsAndSummaryShapesMatchKubelet(t *testing.T) {
	t.Parallel()
	reviews := reviews.Start(t)
	for name, with := range map[string]kubelet.Settings{
		"defaults":         {},
		"systemd":          {"cgroupDriver": "systemd"},
		"cgroup root":      {"cgroupRoot": "/stand-in"},
		"from the runtime": {"featureGates": map[string]bool{"PodAndContainerStatsFromCRI": true}},
	} {
		t.Run(name, func(t *testing.T) {
			shared := kubelet.Settings{"readOnlyPort": programs.FreePort(t), "authorization.mode": "AlwaysAllow"}
			for path, value := range with {
				shared[path] = value
			}
			var both [2]*kubelet.Kubelet
			for i, kind := range []string{"reference", "fauxlet"} {
				shared["readOnlyPort"] = programs.FreePort(t)
				both[i] = kubelet.Start(t, nil, kubelet.Options{Kind: kind, Port: programs.FreePort(t),
					Kubeconfig: reviews.Kubeconfig, Settings: shared, Pods: measuredPods()})
			}
			for _, path := range measuredPaths {
				var answers [2]kubelet.Response
				expect.Eventually(t, 2*podstats.Interval, "both answer within one interval", func() string {
					before := time.Now().Truncate(podstats.Interval)
					for i, k := range both {
						request, err := http.NewRequest(http.MethodGet, "http://"+k.ReadOnly+path, nil)
						expect.NoError(t, err)
						answers[i] = kubelet.Send(t, &http.Transport{DisableKeepAlives: true}, request)
					}
					if !time.Now().Truncate(podstats.Interval).Equal(before) {
						return "the interval ended"
					}
					return ""
				})
				want, got := answers[0], answers[1]
				if got.Status != http.StatusOK || want.Status != got.Status {
					t.Errorf("%s: reference %d %s, fauxlet %d %s", path, want.Status, want.Body, got.Status, got.Body)
					continue
				}
				for _, header := range []string{"Content-Type", "Cache-Control", "X-Content-Type-Options"} {
					if want.Header.Get(header) != got.Header.Get(header) {
						t.Errorf("%s: %s: reference %q, fauxlet %q", path, header, want.Header.Get(header),
							got.Header.Get(header))
					}
				}
				const started = "Process-Start-Time-Unix"
				if (want.Header.Get(started) == "") != (got.Header.Get(started) == "") {
					t.Errorf("%s: %s: reference %q, fauxlet %q", path, started, want.Header.Get(started),
						got.Header.Get(started))
				}
				shape := func(t testing.TB, text string) any { return metricsShape(t, text) }
				if strings.HasPrefix(path, "/stats/") {
					shape = summaryShape
				}
				if diff := cmp.Diff(shape(t, want.Body), shape(t, got.Body)); diff != "" {
					t.Errorf("%s: (-reference +fauxlet)\n%s", path, diff)
				}
			}
		})
	}
}

// ofThisProcess matches metrics whose value or timestamp differs between processes or scrapes.
var ofThisProcess = regexp.MustCompile(`^((?:process_start_time_seconds|container_last_seen\{[^}]*\})) .*$`)

// metricsShape returns the lines of a metrics page in their original order. It removes the values of the metrics that
// ofThisProcess matches, and keeps all other values.
func metricsShape(t testing.TB, text string) []string {
	t.Helper()
	var shape []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		// Skip scrape_error: Kubernetes hides this metric since 1.29. The program "reference" still shows this metric,
		// because it is built without a version and reports 0.0.0.
		if strings.HasPrefix(line, "scrape_error ") || strings.HasPrefix(line, "# HELP scrape_error ") ||
			strings.HasPrefix(line, "# TYPE scrape_error ") {
			continue
		}
		shape = append(shape, ofThisProcess.ReplaceAllString(line, "$1"))
	}
	return shape
}

// summaryShape returns a summary without times and without values that depend on the machine. It sorts the lists
// that a kubelet returns in the random order of a Go map.
func summaryShape(t testing.TB, text string) any {
	t.Helper()
	var summary statsapi.Summary
	expect.NoError(t, json.Unmarshal([]byte(text), &summary))
	slices.SortFunc(summary.Node.SystemContainers,
		func(a, b statsapi.ContainerStats) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(summary.Pods, func(a, b statsapi.PodStats) int {
		return strings.Compare(a.PodRef.UID, b.PodRef.UID)
	})
	for i := range summary.Pods {
		slices.SortFunc(summary.Pods[i].Containers,
			func(a, b statsapi.ContainerStats) int { return strings.Compare(a.Name, b.Name) })
	}
	data, err := json.Marshal(summary)
	expect.NoError(t, err)
	var shape map[string]any
	expect.NoError(t, json.Unmarshal(data, &shape))
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

// cadvisorLint matches the complaints of promtool about metric names of cAdvisor.
const cadvisorLint = `cadvisor_version_info label names should be written in 'snake_case' not 'camelCase'
container_fs_inodes_total non-counter metrics should not have "_total" suffix
container_memory_failcnt counter metrics should have "_total" suffix`

// TestPromtoolAcceptsMetrics lints all metrics. promtool may complain about a name only if it also complains about that
// name in the metrics of the program "reference".
func TestPromtoolAcceptsMetrics(t *testing.T) {
	t.Parallel()
	reviews := reviews.Start(t)
	for _, kind := range []string{"fauxlet", "reference"} {
		t.Run(kind, func(t *testing.T) {
			k := kubelet.Start(t, nil, kubelet.Options{
				Kind: kind, Port: programs.FreePort(t), Kubeconfig: reviews.Kubeconfig,
				Settings: kubelet.Settings{"readOnlyPort": programs.FreePort(t)}, Pods: measuredPods(),
			})
			for path, want := range map[string]string{"/metrics": "", "/metrics/resource": "", "/metrics/probes": "",
				"/metrics/cadvisor": cadvisorLint} {
				request, err := http.NewRequest(http.MethodGet, "http://"+k.ReadOnly+path, nil)
				expect.NoError(t, err)
				got := kubelet.Send(t, &http.Transport{DisableKeepAlives: true}, request)
				if got.Status != http.StatusOK {
					t.Fatalf("%s: %d %s", path, got.Status, got.Body)
				}
				lint := exec.Command(debian(t, "promtool", "prometheus"), "check", "metrics")
				lint.Stdin = strings.NewReader(got.Body)
				said := programs.Run(t, lint)
				complaints := strings.Split(strings.TrimSpace(said.Stderr), "\n")
				slices.Sort(complaints)
				if complaint := strings.Join(slices.Compact(complaints), "\n"); complaint != want &&
					(kind == "fauxlet" || path != "/metrics") {
					t.Errorf("%s: status %d: %s", path, said.Status, complaint)
				} else if complaint != want {
					t.Logf("%s: complaints of promtool about the kubelet's metric names:\n%s", path, complaint)
				}
			}
		})
	}
}

// debian returns the path of a program, and names its Debian package if the program is missing.
func debian(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v; apt-get install --no-install-recommends %s", err, pkg)
	}
	return path
}

// TestPrometheusScrapes lets a real Prometheus scrape with a service account's token, with a client certificate, and as
// the service account of kube-prometheus, with the RBAC manifests and the paths of kube-prometheus.
func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	prometheus := debian(t, "prometheus", "prometheus")
	plane := controlplane.Shared(t, controlplane.NoKubeletFlags)
	plane.Apply(t, controlplane.ScraperRole)
	token, _ := plane.Token(t, "scraper")
	certFile, keyFile, err := plane.PKI.Pair("scraper", plane.PKI.ClientPair("scraper"))
	expect.NoError(t, err)
	published, user := publishedPrometheus(t, plane)
	k := kubelet.Start(t, plane, kubelet.Options{Settings: kubelet.ServingCertificate(t), Pods: measuredPods(),
		Args: withAdmin()})

	dir := t.TempDir()
	paths := []string{"/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes"}
	pathsOf := map[string][]string{"token": paths, "certificate": paths}
	for _, request := range recordedRequests(t, "prometheus") {
		pathsOf["published"] = append(pathsOf["published"], strings.TrimPrefix(request, "GET "))
	}
	var jobs []map[string]any
	for credential, paths := range pathsOf {
		for _, path := range paths {
			job := map[string]any{
				"job_name": credential + " " + path, "scheme": "https", "metrics_path": path, "scrape_interval": "1s",
				"scrape_timeout": "1s",
				"static_configs": []any{map[string]any{"targets": []string{k.Secure}}},
			}
			tls := map[string]any{"ca_file": plane.PKI.CAFile}
			switch credential {
			case "token":
				job["authorization"] = map[string]any{"credentials": token}
			case "published":
				job["authorization"] = map[string]any{"credentials": published}
			default:
				tls["cert_file"], tls["key_file"] = certFile, keyFile
			}
			job["tls_config"] = tls
			jobs = append(jobs, job)
		}
	}
	config := sample.WriteYAML(t, filepath.Join(dir, "prometheus.yaml"), map[string]any{"scrape_configs": jobs})
	ask := startPrometheus(t, prometheus, config)
	expect.Eventually(t, time.Minute, "all targets are up", func() string {
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
	assertRecordedRequests(t, k, user, "prometheus")
	// Prometheus must read the same values from /metrics/cadvisor and /metrics/resource, and compute the rates that the
	// kubelet reports.
	expect.Eventually(t, 5*podstats.Interval, "each endpoint has a rate", func() string {
		rates := map[string]string{}
		for _, job := range []string{"token /metrics/cadvisor", "certificate /metrics/resource"} {
			var result struct {
				Data struct {
					Result []struct{ Value []any }
				}
			}
			query := fmt.Sprintf(`query?query=irate(container_cpu_usage_seconds_total`+
				`%%7Bcontainer%%3D%%22nginx%%22%%2Cjob%%3D%%22%s%%22%%7D%%5B2m%%5D)`,
				strings.NewReplacer(" ", "%20", "/", "%2F").Replace(job))
			if problem := ask(query, &result); problem != "" {
				return problem
			}
			if len(result.Data.Result) != 1 {
				return fmt.Sprintf("%s: %d series", job, len(result.Data.Result))
			}
			rates[job] = fmt.Sprint(result.Data.Result[0].Value[1])
		}
		summary := summaryOf(t, k, kubelet.Credential{Token: token})
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
			expect.NoError(t, err)
			if got := fmt.Sprintf("%.6f", cores); got != want {
				return fmt.Sprintf("%s: a rate of %s, want %s", job, got, want)
			}
		}
		return ""
	})
}

// publishedPrometheus applies the RBAC manifests of kube-prometheus, and returns a token of its service account and the
// user of the token.
func publishedPrometheus(t testing.TB, plane *controlplane.Plane) (token, user string) {
	t.Helper()
	manifests, err := os.ReadFile(filepath.Join(agents, "prometheus.yaml"))
	expect.NoError(t, err)
	const namespace, name = "monitoring", "prometheus-k8s"
	plane.Apply(t, string(manifests)+"---\n"+
		"{apiVersion: v1, kind: Namespace, metadata: {name: "+namespace+"}}\n---\n"+
		"{apiVersion: v1, kind: ServiceAccount, metadata: {name: "+name+", namespace: "+namespace+"}}\n")
	request, err := plane.Client.CoreV1().ServiceAccounts(namespace).CreateToken(context.Background(), name,
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	expect.NoError(t, err)
	return request.Status.Token, serviceaccount.MakeUsername(namespace, name)
}

// summaryOf requests /stats/summary and returns the response.
func summaryOf(t testing.TB, k *kubelet.Kubelet, as kubelet.Credential) *statsapi.Summary {
	t.Helper()
	got := k.Get(t, "/stats/summary", as)
	if got.Status != http.StatusOK {
		t.Fatalf("/stats/summary: %d %s", got.Status, got.Body)
	}
	var summary statsapi.Summary
	expect.NoError(t, json.Unmarshal([]byte(got.Body), &summary))
	return &summary
}

// startPrometheus starts Prometheus with a configuration file. The returned function gets a path below /api/v1/ and
// decodes the JSON answer. It returns the empty string, or an error as text for expect.Eventually.
func startPrometheus(t testing.TB, prometheus, config string) (ask func(path string, into any) string) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
	p, err := programs.Start("prometheus", prometheus, "--config.file="+config,
		"--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+address, "--log.level=warn")
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		p.LogOnFailure(t, 0)
	})
	return func(path string, into any) string {
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
}
