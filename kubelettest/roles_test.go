package kubelettest_test

import (
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"fauxlet/kubelettest"
)

// TestRole runs an agent with all rights, and reads the smallest role from what it has requested. An agent with this
// role can do the same.
func TestRole(t *testing.T) {
	t.Parallel()
	const agent = "system:serviceaccount:monitoring:agent"
	for version, want := range map[string]string{
		"1.31": "[nodes/metrics] [get]; [nodes/proxy] [get]",
		"1.33": "[nodes/metrics] [get]; [nodes/pods] [get]",
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			k := kubelettest.New(t, kubelettest.WithVersion(version), kubelettest.WithUser(kubelettest.User{Name: agent,
				Token: true, Allow: []string{"* *"}}))
			expect(t, k, agent, "/pods", 200, "PodList")
			expect(t, k, agent, "/metrics/resource", 200, "container_memory_working_set_bytes")
			role := k.Role(agent)
			var rules []string
			for _, r := range role.Rules {
				rules = append(rules, fmt.Sprint(r.Resources, " ", r.Verbs))
			}
			if got := strings.Join(rules, "; "); got != want {
				t.Errorf("the role has the rules %s, want %s", got, want)
			}

			var rights []string
			for _, r := range role.Rules {
				rights = append(rights, strings.Join(r.Verbs, ",")+" "+strings.Join(r.Resources, ","))
			}
			k.SetAllowed(agent, rights...)
			expect(t, k, agent, "/pods", 200, "PodList")
			expect(t, k, agent, "/metrics/resource", 200, "container_memory_working_set_bytes")
			for i := range rights {
				k.SetAllowed(agent, append(append([]string{}, rights[:i]...), rights[i+1:]...)...)
				path := []string{"/metrics/resource", "/pods"}[i]
				expect(t, k, agent, path, 403, "Forbidden")
			}
		})
	}
}

// failures records the errors of an assertion.
type failures struct {
	testing.TB
	texts []string
}

func (f *failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func TestAssertGranted(t *testing.T) {
	t.Parallel()
	const agent = "agent"
	manifest := func(resource string) string {
		return `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: agent}
rules: [{apiGroups: [""], resources: ["` + resource + `"], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: agent}
roleRef: {kind: ClusterRole, name: agent, apiGroup: ` + rbacv1.GroupName + `}
subjects: [{kind: User, name: agent, apiGroup: ` + rbacv1.GroupName + `}]
`
	}
	k := kubelettest.New(t, kubelettest.WithUser(kubelettest.User{Name: agent, Allow: []string{"* *"}}))
	expect(t, k, agent, "/pods", 200, "PodList")
	for resource, want := range map[string]int{"nodes/pods": 0, "nodes/proxy": 0, "*/pods": 0, "nodes/metrics": 1,
		"pods": 1} {
		f := &failures{TB: t}
		k.AssertGranted(f, agent, manifest(resource))
		if len(f.texts) != want || want > 0 && !strings.Contains(f.texts[0],
			`GET /pods of user agent: the manifests do not grant the verb "get" on nodes/pods or nodes/proxy`) {
			t.Errorf("%s: %q, want %d errors", resource, f.texts, want)
		}
	}
}
