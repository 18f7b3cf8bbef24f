package tools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
)

const (
	dashboardFile = "packaging/helm/fauxlet/dashboards/fauxlet.json"
	rulesFile     = "packaging/prometheus/fauxlet-rules.yaml"
	rulesTestFile = "packaging/prometheus/fauxlet-rules-test.yaml"
)

// inRepository returns the path of a file of the repository.
func inRepository(name string) string { return filepath.Join(programs.Repository(), name) }

// TestRules runs promtool on the rules for Prometheus and on their tests. Each rule must have a test, and each alert a
// line in docs/watching.md.
func TestRules(t *testing.T) {
	t.Parallel()
	promtool := debian(t, "promtool", "prometheus")
	for _, args := range [][]string{{"check", "rules", inRepository(rulesFile)},
		{"test", "rules", inRepository(rulesTestFile)}} {
		if got := programs.Run(t, exec.Command(promtool, args...)); got.Status != 0 {
			t.Errorf("promtool %s: status %d\n%s%s", strings.Join(args, " "), got.Status, got.Stdout, got.Stderr)
		}
	}
	tests := expect.File(t, inRepository(rulesTestFile))
	page := expect.File(t, inRepository("docs/watching.md"))
	for _, group := range readRules(t).Groups {
		for _, rule := range group.Rules {
			if rule.Record != "" && !strings.Contains(tests, "expr: "+rule.Record) {
				t.Errorf("%s has no test of the record %s", rulesTestFile, rule.Record)
			}
			if rule.Alert == "" {
				continue
			}
			if !strings.Contains(tests, "- alertname: "+rule.Alert+"\n") ||
				!strings.Contains(tests, "{alertname: "+rule.Alert+", ") {
				t.Errorf("%s must have a test in which %s fires, and one in which it does not", rulesTestFile,
					rule.Alert)
			}
			if !strings.Contains(page, "| `"+rule.Alert+"` |") {
				t.Errorf("docs/watching.md does not list the alert %s", rule.Alert)
			}
		}
	}
}

func readRules(t *testing.T) (rules mixin) {
	t.Helper()
	expect.NoError(t, yaml.Unmarshal([]byte(expect.File(t, inRepository(rulesFile))), &rules))
	if len(rules.Groups) == 0 {
		t.Fatalf("%s has no groups", rulesFile)
	}
	return rules
}

// dashboard has the parts of a Grafana dashboard that the tests look at.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct{ Name, Type string }
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ Type, UID string }
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct {
		Defaults struct{ Unit string }
	}
	Targets []struct{ Expr, LegendFormat, RefID string }
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	expect.NoError(t, json.Unmarshal([]byte(expect.File(t, inRepository(dashboardFile))), &d))
	return d
}

// TestDashboard checks the structure of the dashboard: panels have a title, a description, a unit and a query, do not
// overlap, and use only variables that the dashboard defines.
func TestDashboard(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 || len(d.Panels) < 20 {
		t.Errorf("uid %q, title %q, schema version %d, %d panels", d.UID, d.Title, d.SchemaVersion, len(d.Panels))
	}
	// Grafana defines the interval.
	defined := map[string]bool{"__rate_interval": true}
	for _, variable := range d.Templating.List {
		defined[variable.Name] = true
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	variable := regexp.MustCompile(`\$\{?(\w+)`)
	for _, p := range d.Panels {
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d %q: the title is empty, or the ID is not unique", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Errorf("panel %q overlaps %q or the border, at %d, %d", p.Title, other, x, y)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 ||
			p.Datasource.Type != "prometheus" || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q lacks a description, a unit, a query or the data source of the variable", p.Title)
		}
		for _, target := range p.Targets {
			for _, used := range variable.FindAllStringSubmatch(target.Expr, -1) {
				if !defined[used[1]] {
					t.Errorf("panel %q uses the variable %s, which the dashboard does not define", p.Title, used[1])
				}
			}
		}
	}
}

// withoutData has the panels without data on the nodes of TestWatchingFleet, with the reason.
var withoutData = map[string]map[string]string{
	"fauxlet": {"Certificate lifetime": "the nodes make their own certificates"},
	"fauxlet-process": {"Certificate lifetime": "the nodes make their own certificates",
		"Running pods":        "only the /metrics of each node has the metric",
		"Containers by state": "only the /metrics of each node has the metric"},
}

// TestWatchingFleet lets a real Prometheus discover and scrape the nodes of a fleet, with the configuration in
// docs/watching.md and the rules. A node that is added later becomes a target. The queries of the dashboard return
// data, for the job that scrapes the nodes and for the one that scrapes the process.
func TestWatchingFleet(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	prometheus := debian(t, "prometheus", "prometheus")
	plane := controlplane.Shared(t, controlplane.NoKubeletFlags)
	plane.Apply(t, controlplane.ScraperRole)
	token, _ := plane.Token(t, "scraper")
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		expect.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		return file
	}
	const adminToken = "a-token-of-the-admin-listener"
	write("scraper.token", token)
	metrics := fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
	k := kubelet.Start(t, plane, kubelet.Options{Kind: "fauxlet", Kubeconfig: plane.Kubeconfig,
		Pods: []sample.Pod{sample.Nginx()}, Settings: kubelet.Settings{"address": "127.0.0.1"},
		Args: []string{"--register-node=true", "--nodes=2", "--node-name-prefix=watched-", "--deregister-node",
			"--admin-address=127.0.0.1:0", "--admin-token-file=" + write("admin.token", adminToken),
			"--metrics-address=" + metrics}})
	var open struct {
		Admin string
		Nodes map[string]string
	}
	expect.NoError(t, json.Unmarshal([]byte(expect.File(t, filepath.Join(k.Dir, "fauxlet", "ready.json"))), &open))

	// The configuration in the documentation, with the addresses of this test and short intervals.
	configuration := guide.New(t, "watching.md", dir).Block(t, "Prometheus", "yaml")
	rules := expect.File(t, inRepository(rulesFile))
	write("fauxlet-rules.yaml", strings.ReplaceAll(rules, "[5m]", "[30s]"))
	config := write("prometheus.yaml", strings.NewReplacer("127.0.0.1:10240", open.Admin, "127.0.0.1:9250", metrics,
		"refresh_interval: 30s", "refresh_interval: 1s").Replace(configuration)+
		"global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n")
	ask := startPrometheus(t, prometheus, config)
	up := func(names ...string) {
		t.Helper()
		expect.Eventually(t, time.Minute, fmt.Sprintf("the nodes %v are up", names), func() string {
			var targets struct {
				Data struct {
					ActiveTargets []struct {
						ScrapePool, ScrapeURL, Health, LastError string
						Labels                                   map[string]string
					}
				}
			}
			if problem := ask("targets", &targets); problem != "" {
				return problem
			}
			found := map[string]bool{}
			for _, target := range targets.Data.ActiveTargets {
				if target.Health != "up" {
					return fmt.Sprintf("%s %s is %s: %s", target.ScrapePool, target.ScrapeURL, target.Health,
						target.LastError)
				}
				if target.ScrapePool == "fauxlet" && target.Labels["instance"] == target.Labels["node"] &&
					strings.HasPrefix(target.ScrapeURL, "https://127.0.0.1:") {
					found[target.Labels["node"]] = true
				}
			}
			for _, name := range names {
				if !found[name] {
					return fmt.Sprintf("%s is no target: %v", name, found)
				}
			}
			if len(found) != len(names) {
				return fmt.Sprintf("targets %v", found)
			}
			return ""
		})
	}
	up("watched-0", "watched-1")

	scenario := filepath.Join(k.Dir, "fauxlet", "scenario.yaml")
	expect.NoError(t, os.WriteFile(scenario, []byte(expect.File(t, scenario)+"nodes: 3\n"), 0o600))
	expect.NoError(t, k.Cmd.Process.Signal(syscall.SIGHUP))
	up("watched-0", "watched-1", "watched-2")

	request, err := http.NewRequest(http.MethodPost, "http://"+open.Admin+"/api/faults",
		bytes.NewReader([]byte(`{"kind": "status", "status": 503, "route": "/configz"}`)))
	expect.NoError(t, err)
	request.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + adminToken}}
	answer, err := http.DefaultClient.Do(request)
	expect.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	expect.NoError(t, err)
	expect.NoError(t, answer.Body.Close())
	if answer.StatusCode >= 300 {
		t.Fatalf("the fault: %s %s", answer.Status, body)
	}

	// Send requests that are allowed, refused, and affected by the fault, and fail a TLS handshake, until each query of
	// the dashboard returns data.
	problems := func() string {
		for _, path := range []string{"/pods", "/metrics", "/configz"} {
			for _, as := range []kubelet.Credential{{Token: token}, {Token: "invalid"}} {
				k.Get(t, path, as)
			}
		}
		if answer, err := http.Get("http://" + k.Secure); err == nil {
			answer.Body.Close()
		}
		for job, exceptions := range withoutData {
			for _, p := range readDashboard(t).Panels {
				for _, target := range p.Targets {
					query := strings.NewReplacer("$__rate_interval", "30s", "$job", job, "$node", ".*").Replace(
						target.Expr)
					var result struct {
						Status, Error string
						Data          struct{ Result []struct{ Value []any } }
					}
					problem := ask("query?query="+url.QueryEscape(query), &result)
					switch {
					case problem != "" || result.Status != "success":
						return fmt.Sprintf("%s: %s %s", p.Title, problem, result.Error)
					case (len(result.Data.Result) == 0) != (exceptions[p.Title] != ""):
						return fmt.Sprintf("job %s, panel %s: %d results of %s", job, p.Title,
							len(result.Data.Result), query)
					}
				}
			}
		}
		return ""
	}
	expect.Eventually(t, time.Minute, "each query of the dashboard returns data", problems)

	var evaluated struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	expect.Eventually(t, time.Minute, "all rules are evaluated", func() string {
		if problem := ask("rules", &evaluated); problem != "" {
			return problem
		}
		for _, group := range evaluated.Data.Groups {
			for _, rule := range group.Rules {
				if rule.Health != "ok" {
					return fmt.Sprintf("%s: %s %s", rule.Name, rule.Health, rule.LastError)
				}
			}
		}
		if len(evaluated.Data.Groups) != len(readRules(t).Groups) {
			return fmt.Sprintf("%d groups", len(evaluated.Data.Groups))
		}
		return ""
	})
}
