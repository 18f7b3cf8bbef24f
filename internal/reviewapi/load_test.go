package reviewapi

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	head  = "apiVersion: rbac.authorization.k8s.io/v1\n"
	aRole = head + "kind: ClusterRole\nmetadata: {name: r}\nrules: [{apiGroups: [\"\"], resources: [pods], " +
		"verbs: [get]}]\n"
	aBinding = head + "kind: ClusterRoleBinding\nmetadata: {name: b}\nroleRef: {kind: ClusterRole, name: r}\n"
)

func TestLoadPolicyReportsMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		manifest string
		want     []string
	}{
		"not YAML": {"a: b\n---\n\ta: [", []string{"rbac.yaml: document 2: "}},
		"not JSON": {`{"kind": `, []string{"rbac.yaml: document 1: not JSON: unexpected EOF"}},
		"a scalar": {"hello", []string{"rbac.yaml: document 1: "}},
		"unknown field": {aRole + "---\n" + strings.Replace(aRole, "verbs", "verb", 1),
			[]string{`rbac.yaml: document 2: ClusterRole: strict decoding error: unknown field "rules[0].verb"`}},
		"a key twice": {aRole + "rules: []\n", []string{`rbac.yaml: document 1: `, `key "rules" already set`}},
		"wrong type": {head + "kind: ClusterRole\nmetadata: {name: r}\nrules: x\n",
			[]string{"rbac.yaml: document 1: ClusterRole: "}},
		"misspelled kind": {aRole + "---\n" + head + "kind: ClusterRoleBindings\n",
			[]string{"document 2: ClusterRoleBindings of rbac.authorization.k8s.io/v1 is not supported; correct "}},
		"RBAC kind of another group": {aRole + "---\napiVersion: v1\nkind: clusterrole\n",
			[]string{"rbac.yaml: document 2: clusterrole of v1 is not supported; correct apiVersion and kind; "}},
		"no role and no binding": {"apiVersion: apps/v1\nkind: Deployment\n---\napiVersion: v1\nkind: Service\n",
			[]string{"no role and no binding; skipped objects of other kinds: 1 Deployment, 1 Service; "}},
		"unknown version": {"apiVersion: rbac.authorization.k8s.io/v1beta1\nkind: ClusterRole\n",
			[]string{"document 1: ClusterRole of rbac.authorization.k8s.io/v1beta1 is not supported"}},
		"no kind": {head + "metadata: {name: r}\n", []string{"rbac.yaml: document 1: kind is not set"}},
		"no apiVersion": {"kind: ClusterRole\n",
			[]string{"rbac.yaml: document 1: apiVersion is not set; it must be rbac.authorization.k8s.io/v1"}},
		"misspelled kind in List": {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: RoleBinding}\n",
			[]string{"rbac.yaml: document 1: items[0]: RoleBinding of v1 is not supported"}},
		"twice": {aRole + "---\n" + aRole,
			[]string{`rbac.yaml: document 2: ClusterRole "r": duplicate of ClusterRole "r" (`,
				`rbac.yaml, document 1); remove one`}},

		"no name": {head + "kind: ClusterRole\n",
			[]string{`document 1: ClusterRole "": metadata.name: Required value`}},
		"name with a slash": {strings.Replace(aRole, "name: r", "name: a/b", 1),
			[]string{`ClusterRole "a/b": metadata.name: Invalid value: "a/b": may not contain '/'`}},
		"rule, no verbs": {strings.Replace(aRole, "verbs: [get]", "verbs: []", 1),
			[]string{"rules[0].verbs: Required value"}},
		"rule, no group": {strings.Replace(aRole, `apiGroups: [""], `, "", 1),
			[]string{"rules[0].apiGroups: Required value"}},
		"rule, no resource": {strings.Replace(aRole, `resources: [pods], `, "", 1),
			[]string{"rules[0].resources: Required value"}},
		"rule, path and resource": {strings.Replace(aRole, `verbs:`, "nonResourceURLs: [/x], verbs:", 1),
			[]string{"rules[0].nonResourceURLs: Invalid value", "both regular resources and non-resource URLs"}},
		"Role, path": {head + "kind: Role\nmetadata: {name: r, namespace: x}\nrules: " +
			"[{nonResourceURLs: [/x], verbs: [get]}]\n",
			[]string{"rules[0].nonResourceURLs: Invalid value", "namespaced rules cannot apply"}},
		"aggregation, no selector": {head + "kind: ClusterRole\nmetadata: {name: r}\naggregationRule: {}\n",
			[]string{"aggregationRule.clusterRoleSelectors: Required value"}},
		"aggregation, bad operator": {head + "kind: ClusterRole\nmetadata: {name: r}\naggregationRule: " +
			"{clusterRoleSelectors: [{matchExpressions: [{key: a, operator: Near}]}]}\n",
			[]string{`aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: "Near"`}},

		"roleRef, kind": {strings.Replace(aBinding, "kind: ClusterRole,", "kind: Role,", 1),
			[]string{`ClusterRoleBinding "b": roleRef.kind: Unsupported value: "Role": ` +
				`supported values: "ClusterRole"`}},
		"roleRef, group": {strings.Replace(aBinding, "kind: ClusterRole,", "kind: ClusterRole, apiGroup: apps,",
			1), []string{`roleRef.apiGroup: Unsupported value: "apps"`}},
		"roleRef, no name": {strings.Replace(aBinding, ", name: r}", "}", 1),
			[]string{"roleRef.name: Required value"}},
		"subject, no name": {aBinding + "subjects: [{kind: User}]\n",
			[]string{"subjects[0].name: Required value"}},
		"subject, kind": {aBinding + "subjects: [{kind: user, name: x}]\n",
			[]string{`subjects[0].kind: Unsupported value: "user": ` +
				`supported values: "ServiceAccount", "User", "Group"`}},
		"subject, group": {aBinding + "subjects: [{kind: User, name: x, apiGroup: v1}]\n",
			[]string{`subjects[0].apiGroup: Unsupported value: "v1"`}},
		"account, no namespace": {aBinding + "subjects: [{kind: ServiceAccount, name: x}]\n",
			[]string{"subjects[0].namespace: Required value"}},
		"account, group": {aBinding + "subjects: [{kind: ServiceAccount, name: x, namespace: ns, apiGroup: " +
			"rbac.authorization.k8s.io}]\n", []string{"subjects[0].apiGroup: Unsupported value"}},
		"account, name": {aBinding + "subjects: [{kind: ServiceAccount, name: \"a:b\", namespace: ns}]\n",
			[]string{`subjects[0].name: Invalid value: "a:b"`}},
		"two mistakes": {strings.Replace(aRole, "verbs: [get]", "verbs: []", 1) + "---\n" + aBinding +
			"subjects: [{kind: User}]\n", []string{"document 1: ", "document 2: "}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rbac.yaml")
			write(t, path, test.manifest)
			_, err := loadPolicy(path)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(test.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q\ndoes not contain %q", err, want)
				}
			}
		})
	}
}

func TestLoadPolicyReadsFolders(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "b.yaml"), aBinding+"subjects: [{kind: User, name: u}]\n")
	write(t, filepath.Join(folder, "a.json"), `{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleList",
		"items":
		[{"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}]}
		{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBindingList", "items":
		[{"metadata": {"name": "rb", "namespace": "n"},
		"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": []}]}`)
	write(t, filepath.Join(folder, "notes.txt"), "not: [a manifest")
	write(t, filepath.Join(folder, ".hidden.yaml"), "not: [a manifest")
	policy, err := loadPolicy(folder)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := policy.summary(), "1 role, 2 bindings"; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
	if !policy.Authorize(question{user: "u", verb: "get", what: "pods"}.spec()).Allowed {
		t.Error("not allowed")
	}
}

// TestLoadPolicySkipsOtherKinds loads manifests as metrics-server and Datadog publish them: the rules stand beside the
// objects of the program.
func TestLoadPolicySkipsOtherKinds(t *testing.T) {
	const others = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: metrics-server, namespace: kube-system}\n" +
		"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {unknown: [1]}\n"
	for name, manifest := range map[string]string{
		"documents": others + "---\n" + aRole + "---\n" + aBinding + "---\napiVersion: apiregistration.k8s.io/v1\n" +
			"kind: APIService\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: y}\n",
		"List": `{"apiVersion": "v1", "kind": "List", "items": [
			{"apiVersion": "v1", "kind": "ServiceAccount"}, {"apiVersion": "v1", "kind": "ServiceAccountList"},
			{"apiVersion": "apps/v1", "kind": "Deployment"},
			{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}},
			{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "b"},
			"roleRef": {"kind": "ClusterRole", "name": "r"}}]}`,
	} {
		path := filepath.Join(t.TempDir(), "rbac.yaml")
		write(t, path, manifest)
		policy, err := loadPolicy(path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := "1 role, 1 binding; skipped objects of other kinds: 1 APIService, 1 Deployment, 2 ServiceAccount"
		if name == "List" {
			want = "1 role, 1 binding; skipped objects of other kinds: 1 Deployment, 1 ServiceAccount, " +
				"1 ServiceAccountList"
		}
		if got := policy.summary(); got != want {
			t.Errorf("%s: read %q, want %q", name, got, want)
		}
	}
}

// TestManifestWithoutNamespace checks that a RoleBinding without a namespace applies to the namespace default, as after
// kubectl apply.
func TestManifestWithoutNamespace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rbac.yaml")
	write(t, path, aRole+"---\n"+strings.Replace(aBinding, "ClusterRoleBinding", "RoleBinding", 1)+
		"subjects: [{kind: User, name: u}]\n")
	policy, err := loadPolicy(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{"", "default", "other"} {
		spec := question{user: "u", verb: "get", what: "pods"}.spec()
		spec.ResourceAttributes.Namespace = namespace
		if got := policy.Authorize(spec).Allowed; got != (namespace == "default") {
			t.Errorf("namespace %q: allowed is %t", namespace, got)
		}
	}
}

func TestLoadPolicyWithoutFilesAllowsMastersOnly(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.yaml")
	write(t, empty, "# no objects\n")
	for name, paths := range map[string][]string{"no path": nil, "comment": {empty}} {
		policy, err := loadPolicy(paths...)
		if err != nil {
			t.Fatalf("%s: loadPolicy returned %v", name, err)
		}
		if policy.Authorize(question{user: "u", verb: "get", what: "pods"}.spec()).Allowed {
			t.Errorf("%s: allowed", name)
		}
	}
	for name, path := range map[string]string{"no such file": filepath.Join(t.TempDir(), "gone.yaml"),
		"an empty folder": t.TempDir()} {
		if _, err := loadPolicy(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want an error that contains %s", name, err, path)
		}
	}
}

func TestNewPolicyDoesNotChangeItsObjects(t *testing.T) {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r"},
		Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"*"}, Verbs: []string{"*"}}}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "dropped"},
		RoleRef:    rbacv1.RoleRef{Kind: "ClusterRole", Name: "r"},
		Subjects:   []rbacv1.Subject{{Kind: "Group", Name: "g"}},
	}
	policy, err := NewPolicy(role, binding)
	if err != nil {
		t.Fatal(err)
	}
	if binding.RoleRef.APIGroup != "" || binding.Subjects[0].APIGroup != "" {
		t.Error("the caller's binding was changed")
	}
	status := policy.Authorize(question{groups: "g", verb: "x", what: "/y"}.spec())
	if !status.Allowed || !strings.Contains(status.Reason, `ClusterRoleBinding "b"`) {
		t.Errorf("status %+v", status)
	}
	if _, err := NewPolicy(&corev1.Pod{}); err == nil || !strings.Contains(err.Error(), "Pod") {
		t.Errorf("error of a Pod: %v", err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
