package offline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/reviewapi"
	"fauxlet/internal/vectors"
)

// These are the users, with their groups, and the subresources of generated requests. An empty user is anonymous.
var (
	forbiddenUsers = [][]string{{""}, {"viewer"}, {"kubelet-client", "ops"}, {"it's; $(id) `id` \"x\""}, {"-f"},
		{"oidc:alice"}, {"system:kube-scheduler"}, {"viewer/a%b c"}, {"日本"}, {strings.Repeat("x", 300)},
		{"system:serviceaccount:monitoring:prometheus"}, {"system:serviceaccount:default:default"},
		{"system:serviceaccount:incomplete"}, {"system:node:node-1", "system:nodes"}, {"machine", "system:nodes"},
		{"system:bootstrap:abcdef", "system:bootstrappers"}}
	subresources = []string{"proxy", "pods", "healthz", "configz", "metrics", "stats", "log", "statusz", "checkpoint",
		"status", ""}
)

// TestRemediesForForbidden generates RBAC manifests and requests. For each request that gets 403, it runs the kubectl
// commands of each remedy on the manifests. No command may fail, the same request must then be allowed, and no other
// user and no unrelated request may be allowed that was not allowed before.
func TestRemediesForForbidden(t *testing.T) {
	const cases = 120
	t.Parallel()
	random := rand.New(rand.NewPCG(15, 20261128))
	serving, err := newWorld(t).ca.Server("node-1", []string{"127.0.0.1"})
	check(t, err)
	cfg := loadConfig(t, vectors.Settings{"authentication.anonymous.enabled": true,
		"tlsCertFile":       writeFile(t, "serving.crt", serving.CertPEM),
		"tlsPrivateKeyFile": writeFile(t, "serving.key", serving.KeyPEM)}, "", t.TempDir())
	forbidden, applied, namespaced := 0, 0, 0
	for range cases {
		who := forbiddenUsers[random.IntN(len(forbiddenUsers))]
		before := randomRBAC(random, who[0])
		method, target := randomTarget(random)
		request := func(objects rbac) explain.Explanation {
			file := writeFile(t, "rbac.json", []byte(objects.String()))
			options, request := offline.Options{Config: cfg}, offline.Request{Method: method, Target: target}
			reviewers := offline.Reviewers{RBAC: []string{file}, Identity: strings.Join(who, ",")}
			_, err := reviewers.Apply(&options, &request)
			check(t, err)
			k, err := offline.New(options)
			check(t, err)
			e, err := k.Explain(t.Context(), request)
			check(t, err)
			return e
		}
		explained := request(before)
		if explained.Status != http.StatusForbidden {
			continue
		}
		if random.IntN(2) == 0 { // the names that the remedies would take are taken
			for _, object := range taken(t, explained.Remedies) {
				if !slices.ContainsFunc(before, func(o runtime.Object) bool { return sameObject(o, object) }) {
					before = append(before, object)
				}
			}
			explained = request(before)
		}
		forbidden++
		name := fmt.Sprintf("%q, %s %s, %v", who, method, target, before)
		remedies := slices.DeleteFunc(slices.Clone(explained.Remedies), func(r explain.Remedy) bool {
			return !strings.Contains(r.Kubectl, "kubectl create clusterrole")
		})
		isNode := len(who) > 1 && strings.HasPrefix(who[1], "system:")
		if isNode || method == http.MethodOptions || method == http.MethodHead { // the last two have no verb
			if len(remedies) > 0 {
				t.Errorf("%s: no role may be bound, but a remedy is %+v", name, remedies)
			}
			continue
		}
		if len(remedies) == 0 || strings.Contains(remedies[0].Kubectl, "system:kubelet-api-admin") {
			t.Errorf("%s: the first remedy is not a role for this request only: %+v", name, remedies)
			continue
		}
		for _, remedy := range remedies {
			applied++
			after, wanted := before.run(t, remedy.Kubectl)
			if again := request(after); again.Outcome != explain.Allowed {
				t.Errorf("%s: still %s after\n%s", name, again.Reason, remedy.Kubectl)
			}
			if !after.allows(t, wanted) {
				t.Errorf("%s: kubectl auth can-i prints no after\n%s", name, remedy.Kubectl)
			}
			wide := strings.Contains(remedy.Kubectl, "system:kubelet-api-admin")
			before.unrelated(t, name+"\n"+remedy.Kubectl, after, wanted, wide)
			if names := before.roleBindings(t, wanted); len(names) > 0 && !wide {
				namespaced++
				for _, binding := range names {
					if who[0] != "" && (!strings.Contains(remedy.Summary, "a RoleBinding grants nothing on nodes: ") ||
						!strings.Contains(remedy.Summary, binding)) {
						t.Errorf("%s: the summary %q does not name the RoleBinding %s", name, remedy.Summary, binding)
					}
				}
			}
		}
	}
	if forbidden < 60 || applied < 60 || namespaced < 3 {
		t.Errorf("%d requests got 403, %d remedies were applied, %d with a RoleBinding; want at least 60, 60, 3",
			forbidden, applied, namespaced)
	}
}

// taken returns objects without rights that have the names of the objects which remedies create.
func taken(t *testing.T, remedies []explain.Remedy) (all rbac) {
	for _, remedy := range remedies {
		if !strings.Contains(remedy.Kubectl, "kubectl create clusterrole") {
			continue
		}
		created, _ := rbac(nil).run(t, remedy.Kubectl)
		for _, object := range created {
			switch o := object.(type) {
			case *rbacv1.ClusterRole:
				o.Rules = nil
			case *rbacv1.ClusterRoleBinding:
				o.Subjects = nil
			}
			all = append(all, object)
		}
	}
	return all
}

func sameObject(a, b runtime.Object) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && a.(metav1.Object).GetName() == b.(metav1.Object).GetName()
}

// rbac are RBAC objects.
type rbac []runtime.Object

func (r rbac) String() string {
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": r}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// randomRBAC returns random roles and bindings. Some have names that a remedy for another user, or an earlier remedy
// for the same user, has. RoleBindings often bind the given user.
func randomRBAC(random *rand.Rand, who string) (all rbac) {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	name := func() string {
		return pick("a", "b", "viewer:get-nodes-pods", "viewer:kubelet-api-admin", "viewer:get-nodes-proxy",
			"monitoring:prometheus:get-nodes-metrics", "monitoring:prometheus:kubelet-api-admin",
			"default:default:get-nodes-proxy", "default:default:get-nodes-proxy-2", "kubelet-client:create-nodes-proxy")
	}
	rules := func() []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{{APIGroups: []string{""}, Verbs: []string{pick("get", "create", "*")},
			Resources: []string{"nodes/" + pick("pods", "proxy", "metrics", "stats"),
				"nodes/" + pick("log", "configz", "proxy"), "pods"}}}
	}
	subjects := func(user string) []rbacv1.Subject {
		if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok && strings.Contains(account, ":") {
			namespace, name, _ := strings.Cut(account, ":")
			return []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: name}}
		}
		if user == "" {
			user = "system:anonymous"
		}
		return []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: user}}
	}
	seen := map[string]bool{}
	var roles, clusterRoles []string
	for i := range 16 {
		kind := pick("ClusterRoleBinding", "RoleBinding", "RoleBinding", "RoleBinding")
		if i < 8 {
			kind = pick("ClusterRole", "Role")
		}
		meta := metav1.ObjectMeta{Name: name()}
		if !strings.HasPrefix(kind, "Cluster") {
			meta.Namespace = pick("monitoring", "kube-system")
		}
		if key := kind + meta.Namespace + "/" + meta.Name; seen[key] {
			continue
		} else {
			seen[key] = true
		}
		kindMeta := metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: kind}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole",
			Name: pick(append(clusterRoles, "gone")...)}
		switch kind {
		case "ClusterRole":
			clusterRoles = append(clusterRoles, meta.Name)
			all = append(all, &rbacv1.ClusterRole{TypeMeta: kindMeta, ObjectMeta: meta, Rules: rules()})
		case "Role":
			roles = append(roles, meta.Name)
			all = append(all, &rbacv1.Role{TypeMeta: kindMeta, ObjectMeta: meta, Rules: rules()})
		case "ClusterRoleBinding":
			all = append(all, &rbacv1.ClusterRoleBinding{TypeMeta: kindMeta, ObjectMeta: meta, RoleRef: ref,
				Subjects: subjects(forbiddenUsers[random.IntN(len(forbiddenUsers))][0])})
		case "RoleBinding":
			if ref.Kind = pick("Role", "ClusterRole"); ref.Kind == "Role" {
				ref.Name = pick(append(roles, "gone")...)
			}
			all = append(all, &rbacv1.RoleBinding{TypeMeta: kindMeta, ObjectMeta: meta, RoleRef: ref,
				Subjects: subjects(pick(who, forbiddenUsers[random.IntN(len(forbiddenUsers))][0]))})
		}
	}
	return append(all, &rbacv1.ClusterRole{TypeMeta: metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1",
		Kind: "ClusterRole"}, ObjectMeta: metav1.ObjectMeta{Name: "never-empty"}})
}

// run runs the commands of a remedy in a shell, in which kubectl only records its arguments. It returns the objects
// after the commands that create objects, and the request of the command kubectl auth can-i.
func (r rbac) run(t *testing.T, commands string) (after rbac, wanted authorizationv1.SubjectAccessReviewSpec) {
	t.Helper()
	out, err := exec.Command("bash", "-c", "kubectl() { printf '%s\\0' \"$@\" $'\\n'; }\n"+commands).Output()
	check(t, err)
	after = slices.Clone(r)
	for _, line := range bytes.Split(bytes.TrimSuffix(out, []byte("\n\x00")), []byte("\x00\n\x00")) {
		args := strings.Split(string(line), "\x00")
		flags := map[string][]string{}
		var words []string
		for _, arg := range args {
			if flag, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "--") {
				flags[flag] = append(flags[flag], value)
			} else if strings.HasPrefix(arg, "-") {
				t.Fatalf("kubectl would read the argument %q as a flag:\n%s", arg, commands)
			} else {
				words = append(words, arg)
			}
		}
		meta := metav1.ObjectMeta{Name: words[2]}
		kind := func(name string) metav1.TypeMeta {
			return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: name}
		}
		switch words[0] + " " + words[1] {
		case "create clusterrole":
			after = append(after, &rbacv1.ClusterRole{TypeMeta: kind("ClusterRole"), ObjectMeta: meta,
				Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Verbs: flags["--verb"],
					Resources: flags["--resource"]}}})
		case "create clusterrolebinding":
			binding := &rbacv1.ClusterRoleBinding{TypeMeta: kind("ClusterRoleBinding"), ObjectMeta: meta,
				RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole",
					Name: flags["--clusterrole"][0]}}
			for _, user := range flags["--user"] {
				binding.Subjects = append(binding.Subjects,
					rbacv1.Subject{Kind: "User", APIGroup: rbacv1.GroupName, Name: user})
			}
			for _, account := range flags["--serviceaccount"] {
				namespace, name, _ := strings.Cut(account, ":")
				binding.Subjects = append(binding.Subjects,
					rbacv1.Subject{Kind: "ServiceAccount", Namespace: namespace, Name: name})
			}
			after = append(after, binding)
		case "auth can-i":
			resource, node, _ := strings.Cut(words[3], "/")
			wanted = authorizationv1.SubjectAccessReviewSpec{User: flags["--as"][0], Groups: flags["--as-group"],
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: words[2], Version: "v1",
					Resource: resource, Subresource: strings.Join(flags["--subresource"], ""), Name: node}}
		default:
			t.Fatalf("unexpected command %q in\n%s", args, commands)
		}
	}
	return after, wanted
}

// policy returns the policy of the objects. Like an apiserver, it refuses two objects of one kind and name.
func (r rbac) policy(t *testing.T) *reviewapi.Policy {
	t.Helper()
	policy, err := reviewapi.NewPolicy(r...)
	if err != nil {
		t.Fatalf("%v\n%v", err, r)
	}
	return policy
}

func (r rbac) allows(t *testing.T, spec authorizationv1.SubjectAccessReviewSpec) bool {
	t.Helper()
	return r.policy(t).Authorize(spec).Allowed
}

// roleBindings returns the RoleBindings, as namespace/name, that would allow a request if they were
// ClusterRoleBindings.
func (r rbac) roleBindings(t *testing.T, spec authorizationv1.SubjectAccessReviewSpec) (names []string) {
	t.Helper()
	for _, object := range r {
		b, ok := object.(*rbacv1.RoleBinding)
		if !ok {
			continue
		}
		wide := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "made"}, Subjects: b.Subjects,
			RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: b.RoleRef.Name}}
		objects := rbac{wide}
		for _, other := range r {
			switch role := other.(type) {
			case *rbacv1.ClusterRole:
				if b.RoleRef.Kind == "ClusterRole" {
					objects = append(objects, role)
				}
			case *rbacv1.Role:
				if b.RoleRef.Kind == "Role" && role.Namespace == b.Namespace {
					objects = append(objects, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role.Name},
						Rules: role.Rules})
				}
			}
		}
		if objects.allows(t, spec) {
			names = append(names, b.Namespace+"/"+b.Name)
		}
	}
	return names
}

// unrelated reports each request that only the objects in "after" allow, unless it is the wanted request on any node
// or, if "wide" is set, a request of the same user for nodes.
func (r rbac) unrelated(t *testing.T, name string, after rbac, wanted authorizationv1.SubjectAccessReviewSpec,
	wide bool) {
	t.Helper()
	old, changed := r.policy(t), after.policy(t)
	users := append(slices.Clone(forbiddenUsers), []string{"system:anonymous"}, []string{"somebody"},
		append([]string{wanted.User}, wanted.Groups...), append([]string{"somebody"}, wanted.Groups...))
	for _, who := range users {
		for _, verb := range []string{"get", "create", "list"} {
			for _, resource := range []string{"nodes", "pods", "secrets"} {
				for _, subresource := range subresources {
					spec := authorizationv1.SubjectAccessReviewSpec{User: who[0], Groups: who[1:],
						ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Resource: resource,
							Subresource: subresource, Name: "another-node"}}
					if !changed.Authorize(spec).Allowed || old.Authorize(spec).Allowed {
						continue
					}
					asked := wanted.ResourceAttributes
					if who[0] != wanted.User || resource != "nodes" ||
						!wide && (verb != asked.Verb || subresource != asked.Subresource) {
						t.Errorf("%s\nallows %q to %s %s/%s", name, who, verb, resource, subresource)
					}
				}
			}
		}
	}
}
