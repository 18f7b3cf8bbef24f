package leastprivilege

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"fauxlet/authchain"
	"fauxlet/config"
)

// rulesOf returns a rule for each right, such as "get nodes/pods".
func rulesOf(rights ...string) (rules []rbacv1.PolicyRule) {
	for _, right := range rights {
		verb, resource, _ := strings.Cut(right, " ")
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource},
			Verbs: []string{verb}})
	}
	return rules
}

func TestCompare(t *testing.T) {
	rules := rulesOf("get nodes/proxy", "get nodes/stats", "list nodes/stats", "get nodes/spec", "get nodes/log",
		"get nodes/status", "get nodes", "get pods/log")
	limited := rulesOf("get nodes/configz")
	limited[0].ResourceNames = []string{"node-2", "node-1"}
	other := rulesOf("get nodes/metrics")
	other[0].APIGroups = []string{"metrics.k8s.io"}
	requests := []Request{{"GET", "/pods"}, {"GET", "/stats/summary"}, {"GET", "/metrics"}, {"GET", "/configz"},
		{"HEAD", "/stats/summary"}, {"GET", "/statusz"}}
	var b bytes.Buffer
	report := Report{User: agent, Decisions: 120,
		Comparisons: Compare(slices.Concat(rules, rules, limited, other), requests, nil)}
	report.Write(&b, 100)
	const want = `system:serviceaccount:monitoring:agent: 120 requests, compared with the manifests

Kubernetes 1.30 to 1.32:
  used      get nodes/proxy: GET /configz, /pods
  used      get nodes/stats: GET /stats/summary
  not used  get nodes/log
  not used  get nodes/spec (these kubelets do not check nodes/spec)
  not used  list nodes/stats (no kubelet checks the verb list)
  not used  get nodes/configz of the nodes node-1, node-2 (these kubelets do not check
              nodes/configz)
  missing   get nodes/metrics: GET /metrics
  missing   * nodes/stats: HEAD /stats/summary (kubelets check an empty verb for HEAD, which only
              * allows)
  caution   get nodes/proxy lets it run commands in every container of a node, by WebSocket at the
              kubelet's port, and read all logs

Kubernetes 1.33 to 1.35:
  used      get nodes/proxy: GET /pods (get nodes/pods is enough)
  used      get nodes/stats: GET /stats/summary
  used      get nodes/configz of the nodes node-1, node-2: GET /configz
  not used  get nodes/log
  not used  get nodes/spec (these kubelets do not check nodes/spec)
  not used  list nodes/stats (no kubelet checks the verb list)
  missing   get nodes/metrics: GET /metrics
  missing   * nodes/stats: HEAD /stats/summary (kubelets check an empty verb for HEAD, which only
              * allows)
  caution   get nodes/proxy lets it run commands in every container of a node, by WebSocket at the
              kubelet's port, and read all logs

Kubernetes 1.36 to 1.37:
  used      get nodes/proxy: GET /pods (get nodes/pods is enough)
  used      get nodes/stats: GET /stats/summary
  used      get nodes/configz of the nodes node-1, node-2: GET /configz
  not used  get nodes/log
  not used  get nodes/spec (these kubelets do not check nodes/spec)
  not used  list nodes/stats (no kubelet checks the verb list)
  missing   get nodes/metrics: GET /metrics
  missing   * nodes/stats: HEAD /stats/summary (kubelets check an empty verb for HEAD, which only
              * allows)
  missing   get nodes/statusz: GET /statusz
  caution   get nodes/proxy lets it run commands in every container of a node, by WebSocket at the
              kubelet's port, and read all logs
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}

// TestComparisonsAreExact generates rules and requests. Without the unused rights, the user may send the same requests
// as before. With the missing rights in addition, the user may send all requests, and needs each of them.
func TestComparisonsAreExact(t *testing.T) {
	verbs := []string{"get", "get", "create", "update", "*", "list"}
	resources := []string{"nodes/proxy", "nodes/pods", "nodes/healthz", "nodes/configz", "nodes/stats", "nodes/metrics",
		"nodes/log", "nodes/spec", "nodes/statusz", "*", "*/proxy", "nodes"}
	// allowed returns the requests that kubelets allow a user with these rights.
	allowed := func(kubelets Kubelets, rights []Right, requests []Request) (allowed []Request) {
		var texts []string
		for _, r := range rights {
			texts = append(texts, r.Verb+" "+r.Resource)
		}
		role, binding := roleWith(texts...)
		for _, r := range requests {
			if allows(t, kubelets.Version, r, role, binding) {
				allowed = append(allowed, r)
			}
		}
		return allowed
	}
	for seed := range uint64(25) {
		random := rand.New(rand.NewPCG(seed, 1))
		var granted []string
		for range random.IntN(6) {
			granted = append(granted, verbs[random.IntN(len(verbs))]+" "+resources[random.IntN(len(resources))])
		}
		var requests []Request
		for range 1 + random.IntN(8) {
			requests = append(requests, Request{methods[random.IntN(len(methods))], paths[random.IntN(len(paths))]})
		}
		for _, v := range config.Versions() {
			kubelets := Default(v)
			unserved := func(r Request) bool { return !kubelets.serves(r.Path) }
			served := slices.DeleteFunc(slices.Clone(requests), unserved)
			c := compareFor(kubelets, rulesOf(granted...), requests)
			with := func(uses ...Use) (rights []Right) {
				for _, r := range c.Rights {
					if slices.Contains(uses, r.Use) {
						rights = append(rights, r)
					}
				}
				return rights
			}
			before := allowed(kubelets, with(Used, Unused), served)
			if after := allowed(kubelets, with(Used), served); !slices.Equal(after, before) {
				t.Errorf("%s, %q, %v: without the unused rights, only %v are allowed", v, granted, before, after)
			}
			if all := allowed(kubelets, with(Used, Missing), served); !slices.Equal(all, served) {
				t.Errorf("%s, %q, %v: with the missing rights, only %v are allowed", v, granted, served, all)
			}
			for i, missing := range with(Missing) {
				if slices.ContainsFunc(served, func(r Request) bool { return authchain.Verb(r.Method) == "" }) {
					break // the missing right with the verb * can include others
				}
				rights := with(Used, Unused, Missing)
				rights = slices.Delete(rights, len(rights)-len(with(Missing))+i, len(rights)-len(with(Missing))+i+1)
				if len(allowed(kubelets, rights, served)) == len(served) {
					t.Errorf("%s, %q, %v: %s is not missing", v, granted, served, missing.String())
				}
			}
			for _, right := range with(Used) {
				if len(right.Requests) == 0 {
					t.Errorf("%s, %q, %v: no request uses %s", v, granted, served, right.String())
				}
			}
			dangerous := slices.ContainsFunc(with(Used, Unused), func(r Right) bool {
				return r.allows("get", "proxy") || r.allows("create", "proxy")
			})
			if dangerous != (len(c.Cautions) > 0) {
				t.Errorf("%s, %q: cautions %q", v, granted, c.Cautions)
			}
		}
	}
}
