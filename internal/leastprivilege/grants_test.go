package leastprivilege

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fauxlet/config"
	"fauxlet/internal/reviewapi"
)

// roleWith returns a ClusterRole with rights such as "get nodes/pods", and a binding to a service account.
func roleWith(rights ...string) (*rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding) {
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "agent"}}
	for _, right := range rights {
		verb, resource, _ := strings.Cut(right, " ")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource},
			Verbs: []string{verb}})
	}
	return role, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "agent"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "agent"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "monitoring", Name: "agent"}}}
}

func grantsOf(t *testing.T, versions []config.Version, objects ...runtime.Object) Subjects {
	t.Helper()
	policy, err := reviewapi.NewPolicy(objects...)
	if err != nil {
		t.Fatal(err)
	}
	return Grants(policy, objects, versions)
}

func TestGrants(t *testing.T) {
	role, binding := roleWith("get nodes/metrics", "get nodes/pods", "create nodes/proxy", "get pods",
		"list nodes/stats")
	var b bytes.Buffer
	grantsOf(t, config.Versions(), role, binding).Write(&b, 100)
	const want = `ServiceAccount system:serviceaccount:monitoring:agent
  get nodes/metrics, in 1.30 to 1.37:
    GET /metrics, /metrics/cadvisor, /metrics/probes, /metrics/resource, /metrics/slis
  get nodes/pods, in 1.33 to 1.37:
    GET /pods, /runningpods/
  get nodes/pods, in 1.37:
    GET /allocatedPods
  create nodes/proxy, in 1.30 to 1.37:
    POST /exec/…, /attach/…, /portForward/…, /run/…
  caution: create nodes/proxy lets it run commands in every container of a node
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}

	// The advice names only what the subject lacks.
	for _, test := range []struct{ rights, want string }{
		{"get nodes/proxy", "nodes/pods for /pods, nodes/pods for /runningpods/, " +
			"nodes/healthz for /healthz, nodes/configz for /configz"},
		{"get nodes/proxy,get nodes/pods", "nodes/healthz for /healthz, nodes/configz for /configz"},
		{"get nodes/proxy,get nodes/pods,get nodes/healthz,get nodes/configz", ""},
		{"get nodes/metrics", ""},
	} {
		role, binding := roleWith(strings.Split(test.rights, ",")...)
		got := ""
		for _, caution := range grantsOf(t, config.Versions(), role, binding)[0].Cautions {
			if _, advice, ok := strings.Cut(caution, "enough since 1.33: "); ok {
				got = advice
			}
		}
		if got != test.want {
			t.Errorf("%s: the advice is %q, want %q", test.rights, got, test.want)
		}
	}

	b.Reset()
	Subjects(nil).Write(&b, 80)
	if want := "No subject in these manifests may do anything at a kubelet.\n"; b.String() != want {
		t.Errorf("got %q, want %q", &b, want)
	}
	missing := MissingRoles([]runtime.Object{binding})
	if len(missing) != 1 || !strings.Contains(missing[0], `ClusterRole "agent" is not in the manifests`) {
		t.Errorf("without the role: %q", missing)
	}
	binding.RoleRef.Name = "cluster-admin"
	if missing := MissingRoles([]runtime.Object{binding}); len(missing) > 0 {
		t.Errorf("a default role: %q", missing)
	}

	// A kubelet 1.31 does not check nodes/pods, but the subject has this right already.
	v, _ := config.ParseVersion("1.31")
	role, binding = roleWith("get nodes/proxy", "get nodes/pods")
	if cautions := grantsOf(t, []config.Version{v}, role, binding)[0].Cautions; strings.Contains(
		strings.Join(cautions, " "), "nodes/pods") {
		t.Errorf("1.31: %q advise a right that the subject has", cautions)
	}
}

// TestGrantsForSomeNodes checks rights whose rules name nodes, such as the role that fauxlet probe recommends.
func TestGrantsForSomeNodes(t *testing.T) {
	on := func(role *rbacv1.ClusterRole, rule int, names ...string) { role.Rules[rule].ResourceNames = names }
	for _, test := range []struct {
		name   string
		rights []string
		names  map[int][]string // resourceNames, by the index of the right
		want   string
	}{
		{name: "the role of fauxlet probe", rights: []string{"get nodes/proxy"},
			names: map[int][]string{0: {"node-2", "http:node-2:10255", "node-1"}},
			want: `ServiceAccount system:serviceaccount:monitoring:agent
  get nodes/proxy of the nodes node-1, node-2, in 1.37:
    GET /pods, /runningpods/, /allocatedPods, /healthz, /configz, /containerLogs/…, /exec/…,
    /attach/…, /portForward/…, /debug/pprof/…
  caution: get nodes/proxy lets it run commands in every container of a node, by WebSocket at the
    kubelet's port, and read all logs
  caution: if it uses nodes/proxy only for these paths, narrower rights are enough since 1.33:
    nodes/pods for /pods, nodes/pods for /runningpods/, nodes/healthz for /healthz, nodes/configz
    for /configz
`},
		{name: "some requests at all nodes, more at some", rights: []string{"get nodes/pods", "get nodes/pods",
			"get nodes/metrics", "get nodes/stats"}, names: map[int][]string{1: {"node-1"}, 2: {"node-1"}, 3: {"node-2"}},
			want: `ServiceAccount system:serviceaccount:monitoring:agent
  get nodes/metrics of the nodes node-1, in 1.37:
    GET /metrics, /metrics/cadvisor, /metrics/probes, /metrics/resource, /metrics/slis
  get nodes/pods, in 1.37:
    GET /pods, /runningpods/, /allocatedPods
  get nodes/stats of the nodes node-2, in 1.37:
    GET /stats/summary
`},
		{name: "a name that no node can have", rights: []string{"get nodes/proxy"},
			names: map[int][]string{0: {"http:node-1:10255"}},
			want:  "No subject in these manifests may do anything at a kubelet.\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			role, binding := roleWith(test.rights...)
			for i, names := range test.names {
				on(role, i, names...)
			}
			all := config.Versions()
			var b bytes.Buffer
			grantsOf(t, all[len(all)-1:], role, binding).Write(&b, 100)
			if b.String() != test.want {
				t.Errorf("got\n%s\nwant\n%s", &b, test.want)
			}
		})
	}
}

// TestGrantsWithMissingRoles checks that a subject with a role that is not in the manifests is listed, because its
// rights are not known.
func TestGrantsWithMissingRoles(t *testing.T) {
	role, binding := roleWith("get nodes/stats")
	other := binding.DeepCopy()
	other.Name, other.RoleRef.Name = "other", "elsewhere"
	group := other.DeepCopy()
	group.Name, group.Subjects = "group", []rbacv1.Subject{{Kind: rbacv1.GroupKind, Name: "system:authenticated"}}
	var b bytes.Buffer
	grants := grantsOf(t, config.Versions(), role, binding, other, group)
	grants.Write(&b, 100)
	const want = `ServiceAccount system:serviceaccount:monitoring:agent
  get nodes/stats, in 1.30 to 1.37:
    GET /stats/summary
  not known: the rights of ClusterRole "elsewhere", which is not in the manifests

Group system:authenticated
  not known: the rights of ClusterRole "elsewhere", which is not in the manifests
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
	text, err := json.Marshal(grants[1])
	if want := `{"kind":"Group","name":"system:authenticated","access":[],"missingRoles":["elsewhere"]}`; err != nil ||
		string(text) != want {
		t.Errorf("the JSON is %s (%v), want %s", text, err, want)
	}
	b.Reset()
	report := Report{User: agent, MissingRoles: []string{"elsewhere"}}
	report.Write(&b, 100)
	text = []byte(`  not known the rights of ClusterRole "elsewhere", which is not in the manifests`)
	if !bytes.Contains(b.Bytes(), text) {
		t.Errorf("the comparison does not contain %q:\n%s", text, &b)
	}
}

// TestGrantsForNodesAreComplete generates roles with rules for all nodes and for some nodes. It checks for each node,
// request and version that the request is listed if and only if the review API allows it.
func TestGrantsForNodesAreComplete(t *testing.T) {
	resources := []string{"nodes/proxy", "nodes/pods", "nodes/healthz", "nodes/stats", "*", "*/proxy"}
	all := []string{"node-1", "node-2", "node-3"}
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 2))
		var rights []string
		for range 1 + random.IntN(4) {
			verb := []string{"get", "create", "*"}[random.IntN(3)]
			rights = append(rights, verb+" "+resources[random.IntN(len(resources))])
		}
		role, binding := roleWith(rights...)
		for i := range role.Rules {
			role.Rules[i].ResourceNames = all[:2][:random.IntN(3)]
		}
		for _, v := range config.Versions() {
			grants := grantsOf(t, []config.Version{v}, role, binding)
			for _, node := range all {
				var listed []string
				for _, g := range grants {
					for _, a := range g.Access {
						if len(a.Nodes) == 0 || slices.Contains(a.Nodes, node) {
							listed = append(listed, a.Requests...)
						}
					}
				}
				for _, r := range served {
					want := isServed(r, v) && allowsAt(t, v, r, node, role, binding)
					if got := slices.Contains(listed, r.Method+" "+r.Path); got != want {
						t.Errorf("%s, %+v: %v at %s is listed: %v, want %v", v, role.Rules, r, node, got, want)
					}
				}
			}
		}
	}
}

// TestGrantsAreComplete generates roles, and checks for each request and version that it is listed if and only if the
// review API allows it.
func TestGrantsAreComplete(t *testing.T) {
	verbs := []string{"get", "create", "update", "*", "list"}
	resources := []string{"nodes/proxy", "nodes/pods", "nodes/healthz", "nodes/configz", "nodes/stats", "nodes/metrics",
		"nodes/log", "nodes/checkpoint", "nodes/statusz", "*", "*/proxy", "nodes"}
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 0))
		var rights []string
		for range 1 + random.IntN(4) {
			rights = append(rights, verbs[random.IntN(len(verbs))]+" "+resources[random.IntN(len(resources))])
		}
		role, binding := roleWith(rights...)
		for _, v := range config.Versions() {
			var listed []string
			for _, g := range grantsOf(t, []config.Version{v}, role, binding) {
				for _, a := range g.Access {
					listed = append(listed, a.Requests...)
				}
			}
			for _, r := range served {
				want := isServed(r, v) && allows(t, v, r, role, binding)
				if got := slices.Contains(listed, r.Method+" "+r.Path); got != want {
					t.Errorf("%s, %q: %v is listed: %v, want %v", v, rights, r, got, want)
				}
			}
		}
	}
}
