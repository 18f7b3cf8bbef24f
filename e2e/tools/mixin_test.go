package tools

import (
	"encoding/json"
	"fmt"
	"math"

	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
)

// mixin is the file testdata/kubernetes-mixin.yaml: rules for Prometheus, and the queries of dashboards.
type mixin struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Record string            `json:"record,omitempty"`
			Alert  string            `json:"alert,omitempty"`
			Expr   string            `json:"expr"`
			For    string            `json:"for,omitempty"`
			Labels map[string]string `json:"labels,omitempty"`
		} `json:"rules"`
	} `json:"groups"`
	Queries []struct{ Panel, Expr string } `json:"queries"`
}

// noData has parts of the queries that yield nothing, with the reason. A real node without errors has no data either.
var noData = map[string]string{
	"kubelet_node_config_error":               "kubelets since 1.24 do not have the metric",
	"storage_operation_errors_total":          "kubelets since 1.21 do not have the metric",
	"kubelet_runtime_operations_errors_total": "no operation of the container runtime fails",
	`code=~"3.."`: "the apiserver answers no request with such a status",
	`code=~"5.."`: "the apiserver answers no request with such a status",
}

// noInput has the metrics in alerts that this node does not have, with the reason.
var noInput = map[string]string{
	"kubelet_evictions": "no pod is evicted",
	"kubelet_certificate_manager_client_ttl_seconds":             "rotateCertificates is off",
	"kubelet_certificate_manager_client_expiration_renew_errors": "rotateCertificates is off",
	"kubelet_certificate_manager_server_ttl_seconds":             "serverTLSBootstrap is off",
	"kubelet_server_expiration_renew_errors":                     "serverTLSBootstrap is off",
}

// TestKubernetesMixin feeds two scrapes of a node to the rules of the kubernetes-mixin with promtool: each recording
// rule yields a value, no alert about kubelets fires, and the queries of the dashboards about kubelets return data.
// After the second scrape the counters go on growing at the same rate.
func TestKubernetesMixin(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	promtool := debian(t, "promtool", "prometheus")
	var m mixin
	expect.NoError(t, yaml.UnmarshalStrict([]byte(expect.File(t, "testdata/kubernetes-mixin.yaml")), &m))

	const node = "mixin"
	plane := controlplane.Shared(t, controlplane.ForNodes)
	settings := kubelet.ServingCertificate(t)
	settings["readOnlyPort"] = programs.FreePort(t)
	k := kubelet.Start(t, plane, kubelet.Options{Kind: "fauxlet", Node: node, Settings: settings, Pods: []sample.Pod{},
		Args: []string{"--register-node=true"}})
	t.Cleanup(func() { plane.DeleteNode(t, node) })
	plane.AwaitNode(t, node, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	run := func(name string) {
		plane.CreatePod(t, controlplane.BoundTo(node, name, func(pod *v1.Pod) {
			pod.Spec.Volumes = []v1.Volume{
				{Name: "scratch", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
				{Name: "data", VolumeSource: v1.VolumeSource{
					PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			}
			pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "scratch", MountPath: "/scratch"},
				{Name: "data", MountPath: "/data"}}
		}))
		plane.AwaitPod(t, name, "runs", controlplane.PhaseIs(v1.PodRunning))
	}
	run("mixin-1")
	run("mixin-2")
	before := scrapeNode(t, k)
	run("mixin-3")
	plane.RemovePod(t, controlplane.BoundTo(node, "mixin-2"))
	plane.AwaitNoPod(t, "mixin-2")
	var after scraped
	expect.Eventually(t, time.Minute, "the numbers agree with /pods, and time has passed", func() string {
		after = scrapeNode(t, k)
		pods, containers := runningPods(t, k)
		got := []float64{after.value("kubelet_running_pods"), after.value("kubelet_running_containers")}
		if want := []float64{pods, containers}; !slices.Equal(got, want) {
			return fmt.Sprintf("/metrics has %v running pods and containers, /pods has %v", got, want)
		}
		if relists := "kubelet_pleg_relist_duration_seconds_count"; after.value(relists) < before.value(relists)+1 {
			return "no relist since the first scrape"
		}
		if after.value("storage_operation_duration_seconds_count") < 10 {
			return "the volumes of the removed pod are still mounted"
		}
		return ""
	})
	if got := after.value("kubelet_running_pods"); got != 2 {
		t.Errorf("%v pods run, want 2", got)
	}

	dir := t.TempDir()
	test := after.promtoolTest(t, m, before, node)
	sample.WriteYAML(t, filepath.Join(dir, "rules.yaml"), map[string]any{"groups": m.Groups})
	file := sample.WriteYAML(t, filepath.Join(dir, "test.yaml"), test)
	if got := programs.Run(t, exec.Command(promtool, "test", "rules", file)); got.Status != 0 {
		t.Errorf("promtool test rules: status %d\n%s%s", got.Status, got.Stdout, got.Stderr)
	}
}

// runningPods returns the numbers of pods in phase Running and of running containers in /pods.
func runningPods(t *testing.T, k *kubelet.Kubelet) (pods, containers float64) {
	var list v1.PodList
	expect.NoError(t, json.Unmarshal([]byte(expect.Page(t, "http://"+k.ReadOnly+"/pods")), &list))
	for _, pod := range list.Items {
		if pod.Status.Phase == v1.PodRunning {
			pods++
		}
		for _, status := range pod.Status.ContainerStatuses {
			if status.State.Running != nil {
				containers++
			}
		}
	}
	return pods, containers
}

// scraped is a scrape of /metrics: the values of the series, and the types of the metrics.
type scraped struct {
	series map[string]float64
	types  map[string]string
}

var (
	seriesLine = regexp.MustCompile(`^([a-z_:A-Z0-9]+)(\{.*\})? ([^ ]+)$`)
	typeLine   = regexp.MustCompile(`^# TYPE (\S+) (\S+)$`)
)

func scrapeNode(t *testing.T, k *kubelet.Kubelet) scraped {
	t.Helper()
	s := scraped{map[string]float64{}, map[string]string{}}
	for line := range strings.Lines(expect.Page(t, "http://"+k.ReadOnly+"/metrics")) {
		line = strings.TrimSuffix(line, "\n")
		if found := typeLine.FindStringSubmatch(line); found != nil {
			s.types[found[1]] = found[2]
		} else if found := seriesLine.FindStringSubmatch(line); found != nil {
			value, err := strconv.ParseFloat(found[3], 64)
			expect.NoError(t, err)
			s.series[found[1]+found[2]] = value
		} else if !strings.HasPrefix(line, "#") {
			t.Fatalf("not a sample: %q", line)
		}
	}
	return s
}

// value returns the sum of all series of a metric.
func (s *scraped) value(name string) float64 {
	sum := 0.0
	for series, value := range s.series {
		if metric, _, _ := strings.Cut(series, "{"); metric == name {
			sum += value
		}
	}
	return sum
}

// promtoolTest returns a file for promtool test rules. In its series the first two values of a counter come from the
// two scrapes, and the counter goes on growing at this rate. Gauges and quantiles have the values of the second scrape.
func (s *scraped) promtoolTest(t *testing.T, m mixin, before scraped, node string) map[string]any {
	const minutes = 90
	var inputs []map[string]string
	add := func(series, values string) {
		labels := `cluster="test",instance="node:10250"`
		if !strings.Contains(series, "job=") {
			labels += `,job="kubelet"`
		}
		if name, rest, found := strings.Cut(series, "{"); found {
			series = name + "{" + labels + "," + rest
		} else {
			series += "{" + labels + "}"
		}
		inputs = append(inputs, map[string]string{"series": series, "values": values})
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	for series, value := range s.series {
		if math.IsInf(value, 0) || math.IsNaN(value) {
			continue
		}
		name, _, _ := strings.Cut(series, "{")
		first, there := before.series[series]
		if s.types[name] == "gauge" || s.types[name] == "summary" {
			first = value
		} else if !there {
			first = 0
		}
		if value < first {
			t.Errorf("counter %s has gone from %v to %v", series, first, value)
		}
		add(series, number(first)+"+"+number(value-first)+"x"+fmt.Sprint(minutes))
	}
	constant := fmt.Sprintf("+0x%d", minutes)
	add(`up`, "1"+constant)
	add(`kube_node_info{job="kube-state-metrics",node="`+node+`"}`, "1"+constant)
	add(`kube_node_status_capacity{job="kube-state-metrics",node="`+node+`",resource="pods"}`, "110"+constant)

	var alerts, queries []any
	at := fmt.Sprintf("%dm", minutes-5)
	// A query has data if it yields a value that is a number.
	query := func(expr string, want bool) {
		result := map[string]any{"expr": fmt.Sprintf("count((%[1]s) == (%[1]s))", expr), "eval_time": at}
		if !want {
			result["expr"] = fmt.Sprintf("absent((%s) == 1) or vector(0)", expr)
		}
		result["expr"] = fmt.Sprintf("(%s) > bool 0", result["expr"])
		result["exp_samples"] = []any{map[string]any{"labels": "{}", "value": 1}}
		queries = append(queries, result)
	}
	for _, group := range m.Groups {
		for _, rule := range group.Rules {
			if rule.Record != "" {
				query(fmt.Sprintf("%s{quantile=%q,node=%q}", rule.Record, rule.Labels["quantile"], node), true)
				continue
			}
			alerts = append(alerts, map[string]any{"alertname": rule.Alert, "eval_time": at, "exp_alerts": []any{}})
			for _, name := range regexp.MustCompile(`(?:^|[^:\w])(kubelet_\w+|kubernetes_\w+)`).FindAllStringSubmatch(
				rule.Expr, -1) {
				if got, want := s.has(name[1]), noInput[name[1]] == ""; got != want {
					t.Errorf("alert %s: the node has %s: %v, want %v", rule.Alert, name[1], got, want)
				}
			}
		}
	}
	for _, q := range m.Queries {
		want := true
		for part := range noData {
			want = want && !strings.Contains(q.Expr, part)
		}
		query(strings.NewReplacer("$__rate_interval", "5m", "$cluster", "test", "$instance", ".*", "$namespace",
			"default", "$volume", "data").Replace(q.Expr), want)
	}
	test := map[string]any{"interval": "1m", "input_series": inputs, "alert_rule_test": alerts,
		"promql_expr_test": queries}
	return map[string]any{"rule_files": []string{"rules.yaml"}, "evaluation_interval": "1m", "tests": []any{test}}
}

// has reports whether the node has a metric: a series of that name, or a histogram with such buckets.
func (s *scraped) has(name string) bool {
	for series := range s.series {
		if metric, _, _ := strings.Cut(series, "{"); metric == name {
			return true
		}
	}
	return false
}
