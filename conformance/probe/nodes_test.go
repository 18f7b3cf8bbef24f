package probe_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fauxlet/conformance/probe"
	"fauxlet/internal/echo"
)

// serveNodes starts an API server that lists the nodes and nothing else.
func serveNodes(t *testing.T, nodes ...v1.Node) *rest.Config {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"},
			Items: nodes})
	}))
	t.Cleanup(api.Close)
	return &rest.Config{Host: api.URL}
}

// node returns a Node whose addresses are tried in another order than the list has.
func node(t *testing.T, name string, target probe.Target, addresses ...v1.NodeAddress) v1.Node {
	t.Helper()
	port, err := strconv.Atoi(target.Port)
	if err != nil {
		t.Fatal(err)
	}
	n := v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	n.Status.Addresses = append(addresses, v1.NodeAddress{Type: v1.NodeHostName, Address: target.Host})
	n.Status.NodeInfo.KubeletVersion = "v1.31.5"
	return n
}

// TestRunCluster probes nodes with different configurations, a server that is not a kubelet, and a node without an
// address. Nodes with the same findings form one group.
func TestRunCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	good := w.start(t, nil)
	open := newWorld(t, "").start(t, settings{"authentication": authentication(true, false, ""),
		"authorization": alwaysAllow})
	web := serveText(t, w.ca, func(*http.Request) string { return response("200 OK", "<html>") })
	unused := v1.NodeAddress{Type: v1.NodeInternalIP, Address: "127.0.0.9"} // nothing listens there
	public := v1.NodeAddress{Type: v1.NodeInternalIP, Address: "192.0.2.1"}
	lost := node(t, "lost", good.target)
	lost.Status.Addresses = nil
	config := serveNodes(t, node(t, "good-2", good.target), node(t, "good-1", good.target, unused), lost,
		node(t, "open", open.target), node(t, "web", web), node(t, "public", good.target, public))
	var done []int
	options := probe.Options{CA: w.ca.Pool(), Identities: []probe.Identity{w.as(t, "outsider")}}
	report, err := probe.RunCluster(t.Context(), config, nil, 2, options, func(_ probe.NodeReport, n, all int) {
		if done = append(done, n); all != 6 {
			t.Errorf("%d of %d nodes, want 6", n, all)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(done, []int{1, 2, 3, 4, 5, 6}) {
		t.Errorf("the progress is %v", done)
	}
	var groups []string
	for _, g := range report.Groups {
		groups = append(groups, strings.Join(g.Nodes, "+")+": "+strings.Join(g.Findings, ","))
	}
	if len(groups) != 3 || !strings.HasPrefix(groups[0], "open: anonymous-runs,") ||
		!slices.Equal(groups[1:], []string{"good-1+good-2: ", "lost+public+web: "}) {
		t.Errorf("the groups are %q, want open, good-1+good-2, lost+public+web", groups)
	}
	if report.Dangerous() != 1 || report.Unanswered() != 3 {
		t.Errorf("%s, want 1 and 3", report.Summary())
	}
	for _, n := range report.Nodes {
		wanted := map[string]string{"lost": "no address in status.addresses", "web": "not a kubelet",
			"public": "192.0.2.1 is neither a loopback nor a private address"}[n.Name]
		if (n.Report == nil) != (wanted != "") || !strings.Contains(n.Error, wanted) {
			t.Errorf("%s: the error is %q, want %q", n.Name, n.Error, wanted)
		}
		if n.Report != nil && n.Report.Version != "v1.31.5" && !strings.HasPrefix(n.Report.Version, "v1.37") {
			t.Errorf("%s: the version is %q", n.Name, n.Report.Version)
		}
	}
	texts := map[string]string{}
	for _, format := range []string{"table", "json", "junit"} {
		var b bytes.Buffer
		if err := report.Write(&b, format); err != nil {
			t.Fatal(err)
		}
		texts[format] = b.String()
	}
	for _, line := range strings.Split(texts["table"], "\n") {
		if len(line) > 80 && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("this line has more than 80 columns: %s", line)
		}
	}
	for format, part := range map[string]string{"table": "2 nodes: good-1, good-2\n  Nothing dangerous was found.\n",
		"json": `"name": "good-1"`, "junit": `<testsuite name="good-1" tests="1"`} {
		if !strings.Contains(texts[format], part) {
			t.Errorf("the %s has no %q:\n%s", format, part, texts[format])
		}
	}
	checkNodesSchema(t, texts["json"])
	if strings.Count(texts["table"], "Nothing dangerous was found") != 1 ||
		strings.Count(texts["junit"], "<error ") != 3 {
		t.Errorf("wrong texts:\n%s\n%s", texts["table"], texts["junit"])
	}
}

// checkNodesSchema validates the report of several nodes against the schema. Changes of the report that make it invalid
// must be errors.
func checkNodesSchema(t *testing.T, text string) {
	t.Helper()
	if err := schemaError(t, "nodes.schema.json", decoded(t, []byte(text))); err != nil {
		t.Errorf("the report does not match the schema: %v\n%s", err, text)
	}
	for name, change := range map[string]func(report, node map[string]any){
		"no groups":               func(report, _ map[string]any) { delete(report, "groups") },
		"another field":           func(report, _ map[string]any) { report["extra"] = 1 },
		"a report and an error":   func(_, node map[string]any) { node["error"] = "x" },
		"no report and no error":  func(_, node map[string]any) { delete(node, "report") },
		"a report without fields": func(_, node map[string]any) { node["report"] = map[string]any{} },
		"another field of a report": func(_, node map[string]any) {
			node["report"].(map[string]any)["extra"] = 1
		},
	} {
		report := decoded(t, []byte(text))
		for _, node := range report["nodes"].([]any) {
			if node := node.(map[string]any); node["report"] != nil {
				change(report, node)
				break
			}
		}
		if schemaError(t, "nodes.schema.json", report) == nil {
			t.Errorf("the schema accepts an invalid report: %s", name)
		}
	}
}

// TestClusterCredentialsAreHidden checks that errors contain no credential of the kubeconfig, even if the API server
// repeats it.
func TestClusterCredentialsAreHidden(t *testing.T) {
	t.Parallel()
	const token, password = "s3cret-token-of-mine", "s3cret-password-of-mine"
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, repeated, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status: metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden,
			Message: "no rights for " + r.Header.Get("Authorization") + " " + repeated})
	}))
	t.Cleanup(api.Close)
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*rest.Config{"token": {BearerToken: token},
		"token file": {BearerTokenFile: tokenFile}, "password": {Username: "me", Password: password}} {
		config.Host = api.URL
		_, err := probe.RunCluster(t.Context(), config, nil, 1, probe.Options{}, func(probe.NodeReport, int, int) {})
		if err == nil || !strings.Contains(err.Error(), echo.Removed) {
			t.Errorf("%s: the error is %v, want %q", name, err, echo.Removed)
		}
		encoded := base64.StdEncoding.EncodeToString([]byte("me:" + password))
		for _, secret := range []string{token, password, encoded} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error contains the credential: %v", name, err)
			}
		}
	}
}

// TestRunClusterNames checks the selection of nodes by name.
func TestRunClusterNames(t *testing.T) {
	t.Parallel()
	k := newWorld(t, "").start(t, nil)
	config := serveNodes(t, node(t, "a", k.target), node(t, "b", k.target))
	ignore := func(probe.NodeReport, int, int) {}
	report, err := probe.RunCluster(t.Context(), config, []string{"b"}, 1, probe.Options{}, ignore)
	if err != nil || len(report.Nodes) != 1 || report.Nodes[0].Name != "b" {
		t.Errorf("the report is %v, and the error %v; want the node b", report, err)
	}
	_, err = probe.RunCluster(t.Context(), config, []string{"c"}, 1, probe.Options{}, ignore)
	if err == nil || !strings.Contains(err.Error(), `node "c" does not exist`) {
		t.Errorf("the error is %v", err)
	}
	if _, err = probe.RunCluster(t.Context(), serveNodes(t), nil, 1, probe.Options{}, ignore); err == nil {
		t.Error("a cluster without nodes is no error")
	}
}
