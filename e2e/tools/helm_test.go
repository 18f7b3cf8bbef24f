package tools

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
	"fauxlet/scenario"
)

// prometheusOperator is the module with the CustomResourceDefinition of ServiceMonitor.
const prometheusOperator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// values are settings of the Helm chart.
type values map[string]any

// runHelm runs helm in the root folder of the repository, as the administrator of a control plane if there is one.
func runHelm(t testing.TB, c *controlplane.Plane, args ...string) programs.Result {
	t.Helper()
	cmd := exec.Command(programs.Path(t, "helm"), args...)
	cmd.Dir, cmd.Env = "../..", []string{"HOME=" + t.TempDir()}
	if c != nil {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+c.Kubeconfig)
	}
	return programs.Run(t, cmd)
}

// helmPrints runs helm and returns its output. Helm must succeed without a warning. A violation of a pod security
// standard, for example, causes a warning.
func helmPrints(t testing.TB, c *controlplane.Plane, args ...string) string {
	t.Helper()
	got := runHelm(t, c, args...)
	if got.Status != 0 || got.Stderr != "" {
		t.Fatalf("helm %s: status %d\n%s%s", strings.Join(args, " "), got.Status, got.Stdout, got.Stderr)
	}
	return got.Stdout
}

// chart returns the arguments for helm that name the chart and a file with the given values.
func chart(t testing.TB, v values) []string {
	t.Helper()
	file := sample.WriteYAML(t, filepath.Join(t.TempDir(), "values.yaml"), v)
	return []string{"packaging/helm/fauxlet", "--values", file}
}

// rendered returns the manifest that the chart renders for the release "fauxlet" in the namespace "fauxlet".
func rendered(t testing.TB, v values) string {
	t.Helper()
	return helmPrints(t, nil, append([]string{"template", "fauxlet", "--namespace=fauxlet"},
		chart(t, v)...)...)
}

// settings returns the values of the chart that correspond to an overlay and a component of deploy/. The component
// may be empty.
func settings(t testing.TB, overlay, component string) values {
	t.Helper()
	v := values{}
	if overlay == "fleet" {
		v["replicas"], v["nodesPerReplica"] = 2, 100
	}
	switch component {
	case "":
	case "certs-by-bootstrap":
		v["certificates"] = values{"source": "bootstrap"}
	case "certs-by-secret":
		v["certificates"] = values{"source": "secret", "clientCASecret": "fauxlet-client-ca"}
	case "deregister":
		v["node"] = values{"deregister": true}
	case "kubelet-api-admin":
		v["kubeletAPIAdmin"] = values{"create": true}
	case "pod-volumes":
		v["podVolumes"] = true
	case "static-pods":
		var scenario values
		expect.NoError(t, yaml.Unmarshal([]byte(expect.File(t, "../../deploy/components/static-pods/scenario.yaml")),
			&scenario))
		v["scenario"] = values{"pods": scenario["pods"]}
	default:
		t.Fatalf("component %s: no values of the chart are known for it", component)
	}
	return v
}

// TestHelmChartEqualsKustomize compares the objects of the chart with the objects of deploy/, for each overlay and
// component. kube-apiserver must accept the objects of the chart without warnings.
func TestHelmChartEqualsKustomize(t *testing.T) {
	t.Parallel()
	plane := deployPlane(t, controlplane.WithClientCertificate)
	createNamespace(t, plane)
	for _, overlay := range overlays {
		for _, component := range append([]string{""}, components...) {
			t.Run(overlay+"/"+component, func(t *testing.T) {
				v := settings(t, overlay, component)
				manifest := rendered(t, v)
				feed(t, plane, manifest, "apply", "--server-side", "--dry-run=server")
				helmPrints(t, nil, append([]string{"lint", "--strict", "--quiet", "--namespace=fauxlet"},
					chart(t, v)...)...)

				want := comparable(t, kustomize(t, plane, overlay, strings.Fields(component)...))
				delete(want, "Namespace /fauxlet")
				got := comparable(t, manifest)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("the chart (+) differs from deploy/ (-):\n%s", diff)
				}
			})
		}
	}
}

// hashed is the name of a ConfigMap of kustomize, which ends with a hash of the content.
var hashed = regexp.MustCompile(`(name: fauxlet)-[a-z0-9]{10}\n`)

// comparable returns the objects of a manifest by kind, namespace and name. It leaves out what differs between Helm and
// kustomize on purpose: recommended labels, hashes of the configuration, comments in files, the order of arguments and
// rules, and the label of the nodes with the name of the release.
func comparable(t testing.TB, manifest string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, object := range decoded(t, hashed.ReplaceAllString(manifest, "$1\n")) {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		expect.NoError(t, err)
		meta := object.(metav1.Object)
		name := fmt.Sprintf("%s %s/%s", fields["kind"], meta.GetNamespace(), meta.GetName())
		if all[name] != nil {
			t.Errorf("the manifest has %s twice", name)
		}
		all[name] = normal(t, "", fields).(map[string]any)
	}
	return all
}

// decoded returns the objects of a manifest. It refuses unknown fields.
func decoded(t testing.TB, manifest string) (all []runtime.Object) {
	t.Helper()
	documents := k8syaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		expect.NoError(t, err)
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		expect.NoError(t, err)
		all = append(all, object)
	}
}

// normal returns a part of an object in the form for comparable. The key is the name of the part.
func normal(t testing.TB, key string, part any) any {
	switch part := part.(type) {
	case map[string]any:
		result := map[string]any{}
		for k, v := range part {
			if !strings.HasPrefix(k, "app.kubernetes.io/") && k != "helm.sh/chart" && k != "checksum/config" {
				result[k] = normal(t, k, v)
			}
		}
		return result
	case []any:
		var result []any
		for _, v := range part {
			result = append(result, normal(t, key, v))
		}
		if key == "args" || key == "rules" {
			slices.SortFunc(result, func(a, b any) int { return strings.Compare(sortKey(a), sortKey(b)) })
		}
		return result
	case string:
		switch key {
		case "args":
			return strings.TrimSuffix(part, ",fauxlet/release=fauxlet")
		case "kubelet.yaml", "kubeconfig", "scenario.yaml":
			var content map[string]any
			expect.NoError(t, yaml.UnmarshalStrict([]byte(part), &content))
			maps.DeleteFunc(content, func(_ string, v any) bool { return cmp.Equal(v, []any{}) })
			return content
		}
	}
	return part
}

// sortKey returns the text by which an argument, or a rule of a role, is sorted. It does not depend on the rule's
// resourceNames.
func sortKey(part any) string {
	if rule, ok := part.(map[string]any); ok {
		return fmt.Sprint(rule["resources"], rule["verbs"])
	}
	return fmt.Sprint(part)
}

// TestHelmChartRefusesValues checks the errors for values that are unknown or contradict each other. Each error names
// the value.
func TestHelmChartRefusesValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		values values
		want   []string
	}{
		{"unknown name", values{"replica": 2}, []string{"'replica' not allowed"}},
		{"unknown name in a group", values{"certificates": values{"from": "x"}},
			[]string{"at '/certificates'", "'from' not allowed"}},
		{"unknown choice", values{"certificates": values{"source": "self-signed"}},
			[]string{"at '/certificates/source'", "'selfSigned', 'bootstrap', 'secret'"}},
		{"text instead of a number", values{"nodesPerReplica": "ten"},
			[]string{"at '/nodesPerReplica'", "want integer"}},
		{"no nodes", values{"nodesPerReplica": 0}, []string{"at '/nodesPerReplica'", "minimum"}},
		{"too many nodes", values{"nodesPerReplica": 10001}, []string{"at '/nodesPerReplica'", "maximum"}},
		{"text instead of true", values{"networkPolicy": values{"create": "no"}},
			[]string{"at '/networkPolicy/create'", "want boolean"}},
		{"second argument in a label", values{"node": values{"labels": values{"a": "b,c=d"}}},
			[]string{"at '/node/labels/a'", "'b,c=d'"}},
		{"invalid capacity", values{"node": values{"capacity": values{"cpu": "eight"}}},
			[]string{"at '/node/capacity/cpu'", "'eight'"}},
		{"port of a node", values{"metrics": values{"port": 10250}}, []string{"at '/metrics/port'", "maximum"}},
		{"peer that matches everything", values{"metrics": values{"from": []values{{}}}},
			[]string{"at '/metrics/from/0'"}},
		{"group that is not for bootstrap", values{"certificates": values{"bootstrapGroup": "system:masters"}},
			[]string{"at '/certificates/bootstrapGroup'", "'system:masters'"}},
		{"deregister with bootstrap",
			values{"node": values{"deregister": true}, "certificates": values{"source": "bootstrap"}},
			[]string{"node.deregister=true does not work with certificates.source=bootstrap"}},
		{"podVolumes with bootstrap", values{"podVolumes": true, "certificates": values{"source": "bootstrap"}},
			[]string{"podVolumes=true is not needed"}},
		{"nodes in the Scenario", values{"scenario": values{"nodes": 5}},
			[]string{"scenario.nodes", "set nodesPerReplica"}},
		{"port in the configuration", values{"kubeletConfiguration": values{"port": 1}},
			[]string{"kubeletConfiguration.port"}},
		{"no ServiceAccount", values{"serviceAccount": values{"create": false}}, []string{"set serviceAccount.name"}},
		{"null", values{"nodesPerReplica": nil}, []string{"missing property 'nodesPerReplica'"}},
		{"null for a group", values{"certificates": nil}, []string{"missing property 'certificates'"}},
		{"null in a group", values{"node": values{"labels": nil}}, []string{"at '/node'", "missing property 'labels'"}},
		{"tag in the repository", values{"image": values{"repository": "fauxlet:v1"}},
			[]string{"at '/image/repository'", "'fauxlet:v1'"}},
		{"negative capacity", values{"node": values{"capacity": values{"cpu": -5}}},
			[]string{"at '/node/capacity/cpu'", "minimum"}},
		{"quantity that Kubernetes refuses", values{"node": values{"capacity": values{"memory": "5K"}}},
			[]string{"at '/node/capacity/memory'", "'5K'"}},
		{"more than all", values{"podDisruptionBudget": values{"maxUnavailable": "150%"}},
			[]string{"at '/podDisruptionBudget/maxUnavailable'"}},
		{"anonymous kubelet-api-admin", values{"kubeletAPIAdmin": values{"user": "system:anonymous"}},
			[]string{"at '/kubeletAPIAdmin/user'"}},
		{"ServiceMonitor without metrics", values{"metrics": values{"serviceMonitor": values{"create": true}}},
			[]string{"set metrics.enabled=true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := runHelm(t, nil, append([]string{"template", "fauxlet"}, chart(t, test.values)...)...)
			if got.Status != 1 || got.Stdout != "" {
				t.Errorf("helm template: status %d, output %q", got.Status, got.Stdout)
			}
			for _, want := range test.want {
				expect.Contains(t, "standard error of helm", got.Stderr, want)
			}
		})
	}
}

// TestHelmPage renders the chart with each values file in docs/helm.md. The rendered files for fauxlet must be valid.
func TestHelmPage(t *testing.T) {
	t.Parallel()
	page := expect.File(t, "../../docs/helm.md")
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(blocks) < 3 {
		t.Fatalf("docs/helm.md has only %d values files", len(blocks))
	}
	for _, block := range blocks {
		var v values
		expect.NoError(t, yaml.UnmarshalStrict([]byte(block[1]), &v))
		found := objects[*v1.ConfigMap](t, withoutServiceMonitor(rendered(t, v)), "ConfigMap")
		for _, files := range found {
			if text := files.Data["scenario.yaml"]; text != "" {
				_, err := scenario.Parse([]byte(text), scenario.Options{InCluster: true})
				expect.NoError(t, err)
				expect.NoError(t, yaml.UnmarshalStrict([]byte(files.Data["kubelet.yaml"]),
					&kubeletconfig.KubeletConfiguration{}))
			}
		}
		if len(found) == 0 {
			t.Error("the chart renders no ConfigMap")
		}
	}
}

// withoutServiceMonitor returns a manifest without the custom resource, which the client's scheme does not have.
func withoutServiceMonitor(manifest string) string {
	documents := slices.DeleteFunc(strings.Split(manifest, "\n---\n"),
		func(text string) bool { return strings.Contains(text, "\nkind: ServiceMonitor\n") })
	return strings.Join(documents, "\n---\n")
}

// TestHelmChartWithoutReplicas checks that permissions stay limited to a name if no pod runs. An empty list of names
// would allow all.
func TestHelmChartWithoutReplicas(t *testing.T) {
	t.Parallel()
	limited := func(v values) (all []string) {
		manifest := rendered(t, v)
		var rules []rbacv1.PolicyRule
		for _, role := range objects[*rbacv1.ClusterRole](t, manifest, "ClusterRole") {
			rules = append(rules, role.Rules...)
		}
		for _, role := range objects[*rbacv1.Role](t, manifest, "Role") {
			rules = append(rules, role.Rules...)
		}
		for _, rule := range rules {
			if len(rule.ResourceNames) > 0 {
				all = append(all, fmt.Sprint(rule.Verbs, rule.Resources, rule.ResourceNames))
			}
		}
		return all
	}
	want := []string{"[get list watch] [nodes] [fauxlet-0]", "[patch] [nodes/status] [fauxlet-0]",
		"[get update] [leases] [fauxlet-0]"}
	for _, replicas := range []int{0, 1} {
		if got := limited(values{"replicas": replicas}); !slices.Equal(got, want) {
			t.Errorf("%d replicas: the limited rules are %q, want %q", replicas, got, want)
		}
	}
}

// TestHelmChartNames renders the chart with names that YAML would read as numbers or truth values without quotes.
func TestHelmChartNames(t *testing.T) {
	t.Parallel()
	v := values{"fullnameOverride": "true", "image": values{"repository": "registry.example.com:5000/a/fauxlet"},
		"serviceAccount": values{"name": "123"}, "node": values{"capacity": values{"cpu": 0.5}},
		"certificates": values{"source": "secret", "servingSecret": "1e3", "clientCASecret": "0x1"}}
	manifest := helmPrints(t, nil, append([]string{"template", "12e4", "--namespace=1234"}, chart(t, v)...)...)
	set := objects[*appsv1.StatefulSet](t, manifest, "StatefulSet")[0]
	if set.Name != "true" || set.Namespace != "1234" || set.Spec.Template.Spec.ServiceAccountName != "123" {
		t.Errorf("the names are %q, %q and %q", set.Namespace, set.Name, set.Spec.Template.Spec.ServiceAccountName)
	}
	got := runHelm(t, nil, append([]string{"template", "12e4"}, chart(t, values{})...)...)
	expect.Contains(t, "standard error of helm", got.Stderr, "set fullnameOverride")
	manifest = helmPrints(t, nil, append([]string{"template", "a.b"}, chart(t, values{})...)...)
	if name := objects[*v1.Service](t, manifest, "Service")[0].Name; name != "a-b-fauxlet" {
		t.Errorf("the Service of the release a.b is called %q", name)
	}
}

// createNamespace creates the namespace "fauxlet", which enforces the pod security standard that docs/helm.md
// recommends. It is deleted when the test ends.
func createNamespace(t testing.TB, c *controlplane.Plane) {
	t.Helper()
	applied(t, c, expect.File(t, "../../deploy/base/namespace.yaml"))
}

// listed returns the kind, namespace and name of all objects in the cluster. It leaves out events, because they stay
// for an hour.
func listed(t testing.TB, c *controlplane.Plane) []string {
	t.Helper()
	kinds := strings.Fields(c.KubectlPrints(t, nil, "api-resources", "--verbs=list", "--output=name"))
	kinds = slices.DeleteFunc(kinds, func(kind string) bool {
		return kind == "events" || kind == "events.events.k8s.io" || kind == "componentstatuses"
	})
	text := c.KubectlPrints(t, nil, "get", strings.Join(kinds, ","), "--all-namespaces", "--no-headers",
		"--output=custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	return lines
}

// TestHelmRelease installs the chart with helm, runs its pods, and uses their nodes as a tester does. It then
// upgrades and removes the release. The service account must use every right that it has, and nothing may be left in
// the cluster.
func TestHelmRelease(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	guide := expect.File(t, "../../docs/helm.md")
	documented := func(command string) {
		t.Helper()
		expect.Contains(t, "docs/helm.md", guide, "\n"+command+"\n")
	}
	plane := deployPlane(t, controlplane.WithClientCertificate)
	createNamespace(t, plane)
	applied(t, plane, expect.File(t, filepath.Join(programs.ModuleFolder(t, prometheusOperator),
		"example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml")))
	plane.KubectlPrints(t, nil, "wait", "--for=condition=Established", "--timeout=1m",
		"customresourcedefinition/servicemonitors.monitoring.coreos.com")
	before := listed(t, plane)
	from := auditLength(t, plane)

	v := values{
		"kubeletAPIAdmin": values{"create": true},
		"metrics":         values{"enabled": true, "serviceMonitor": values{"create": true}},
		"dashboards":      values{"create": true},
		"node": values{"labels": values{"pool": "a"}, "capacity": values{"cpu": "16", "example.com/gpu": 2},
			"taints": []values{{"key": "fauxlet", "value": "true", "effect": "NoSchedule"}, {"key": "b",
				"effect": "NoExecute"}}},
		"kubeletConfiguration": values{"maxPods": 250},
		"scenario":             values{"containers": []values{{"pod": "job-*", "exits": values{"after": "30s"}}}},
		"extraArgs":            []string{"--log-format=json"},
		"extraEnv":             []values{{"name": "GOMEMLIMIT", "value": "400MiB"}},
		"networkPolicy":        values{"extraEgress": []values{{"ports": []values{{"port": 4317}}}}},
		"tolerations":          []values{{"operator": "Exists"}},
		"nodeSelector":         values{"kubernetes.io/os": "linux"},
		"resources":            values{"limits": values{"memory": "512Mi"}},
		"imagePullSecrets":     []values{{"name": "registry"}},
		"podLabels":            values{"team": "a"},
		"podAnnotations":       values{"team": "a"},
		"priorityClassName":    "system-cluster-critical",
	}
	documented("helm install fauxlet packaging/helm/fauxlet --namespace fauxlet")
	notes := helmPrints(t, plane, append([]string{"install", "fauxlet", "--namespace", "fauxlet"}, chart(t, v)...)...)
	const removeNodes = "kubectl delete nodes --selector fauxlet/release=fauxlet"
	expect.Contains(t, "the output of helm install", notes, removeNodes)
	t.Cleanup(func() {
		if runHelm(t, plane, "status", "fauxlet", "--namespace=fauxlet").Status == 0 {
			helmPrints(t, plane, "uninstall", "fauxlet", "--namespace=fauxlet")
		}
		plane.KubectlPrints(t, nil, "delete", "nodes", "--selector=fauxlet=true")
	})
	plane.AwaitAccess(t, controlplane.User("kubelet-client"), true)
	first := runScheduledPod(t, plane, "fauxlet-0", "127.10.250.20", "")
	tested(t, plane, first, []string{"fauxlet-0"})
	tokenIsReviewed(t, plane, first)
	response, err := http.Get("http://" + first.ip + ":9250/metrics")
	expect.NoError(t, err)
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	expect.NoError(t, err)
	expect.Contains(t, "the metrics of all nodes", string(metrics), `node="fauxlet-0"`)

	plane.KubectlPrints(t, []string{"fauxlet.json"}, "get", "configmap", "fauxlet-dashboards", "--namespace=fauxlet",
		"--output=jsonpath={.data}")

	// The nodes of two releases with the same name would have the same names.
	plane.KubectlPrints(t, nil, "create", "namespace", "other")
	got := runHelm(t, plane, append([]string{"install", "fauxlet", "--namespace=other"}, chart(t, values{})...)...)
	plane.KubectlPrints(t, nil, "delete", "namespace", "other", "--timeout=1m")
	if got.Status != 1 {
		t.Errorf("helm install of a second release with the same name: status %d", got.Status)
	}
	expect.Contains(t, "standard error of helm install", got.Stderr,
		`ClusterRole "fauxlet" in namespace "" exists and cannot`)

	node := plane.AwaitNode(t, "fauxlet-0", "has its labels", func(node *v1.Node) string {
		if node.Labels["pool"] != "a" || node.Labels["fauxlet/release"] != "fauxlet" {
			return fmt.Sprintf("labels: %v", node.Labels)
		}
		return ""
	})
	if got := node.Status.Capacity; got.Cpu().String() != "16" || got.Pods().String() != "250" ||
		got.Name("example.com/gpu", resource.DecimalSI).String() != "2" {
		t.Errorf("the capacity of the node is %v", got)
	}

	const upgrade = "helm upgrade fauxlet packaging/helm/fauxlet --namespace fauxlet --reset-then-reuse-values " +
		"--set replicas=2"
	documented(upgrade)
	helmPrints(t, plane, append(strings.Fields(upgrade)[1:], "--set-string=node.emulateVersion=1.33")...)
	v["replicas"], v["node"].(values)["emulateVersion"] = 2, "1.33"
	second := runScheduledPod(t, plane, "fauxlet-1", "127.10.250.21", "")
	first.end(t, plane)
	first = runScheduledPod(t, plane, "fauxlet-0", "127.10.250.22", string(first.pod.UID))
	for _, r := range []*running{first, second} {
		tested(t, plane, r, []string{r.pod.Name})
		plane.AwaitNode(t, r.pod.Name, "has the new version", func(node *v1.Node) string {
			if got := node.Status.NodeInfo.KubeletVersion; !strings.HasPrefix(got, "v1.33.") {
				return got
			}
			return ""
		})
	}
	rightsAreUsed(t, plane, from, withoutServiceMonitor(rendered(t, v)), nil)

	documented("helm uninstall fauxlet --namespace fauxlet")
	documented(removeNodes)
	helmPrints(t, plane, "uninstall", "fauxlet", "--namespace", "fauxlet")
	first.end(t, plane)
	second.end(t, plane)
	plane.KubectlPrints(t, []string{`"fauxlet-0" deleted`, `"fauxlet-1" deleted`}, strings.Fields(removeNodes)[1:]...)
	expect.Eventually(t, time.Minute, "nothing is left in the cluster", func() string {
		return cmp.Diff(before, listed(t, plane))
	})
}

// runScheduledPod is like runPod, but waits for a pod that replaces the pod with the given UID. It binds the pod to a
// node, as a scheduler does, and reports the pod as ready, as a kubelet does.
func runScheduledPod(t testing.TB, c *controlplane.Plane, name, ip, replaced string) *running {
	t.Helper()
	pods, ctx := c.Client.CoreV1().Pods("fauxlet"), context.Background()
	expect.Eventually(t, time.Minute, "a new pod "+name+" is created", func() string {
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if string(pod.UID) == replaced {
			return "the old pod exists"
		}
		return ""
	})
	expect.NoError(t, pods.Bind(ctx, &v1.Binding{ObjectMeta: metav1.ObjectMeta{Name: name},
		Target: v1.ObjectReference{Kind: "Node", Name: "worker"}}, metav1.CreateOptions{}))
	r := runPod(t, c, name, ip)
	pod, err := pods.Get(ctx, name, metav1.GetOptions{})
	expect.NoError(t, err)
	pod.Status.Phase = v1.PodRunning
	pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	expect.NoError(t, err)
	return r
}

// end waits until the deletion of the pod has begun, stops the process, and confirms the deletion, as a kubelet does.
func (r *running) end(t testing.TB, c *controlplane.Plane) {
	t.Helper()
	pods, ctx := c.Client.CoreV1().Pods("fauxlet"), context.Background()
	expect.Eventually(t, time.Minute, r.pod.Name+" is deleted", func() string {
		pod, err := pods.Get(ctx, r.pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && pod.DeletionTimestamp != nil {
			return ""
		}
		return fmt.Sprintf("it is not: %v", err)
	})
	expect.NoError(t, r.Stop())
	now := int64(0)
	expect.NoError(t, pods.Delete(ctx, r.pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now,
		Preconditions: &metav1.Preconditions{UID: &r.pod.UID}}))
}
