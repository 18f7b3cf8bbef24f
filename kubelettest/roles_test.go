package kubelettest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	kubeletconfigv1beta1 "k8s.io/kubelet/config/v1beta1"

	"fauxlet/kubelettest"
)

// TestRole runs an agent with all rights, and reads the smallest role from what it has requested. An agent with this
// role can do the same.
func TestRole(t *testing.T) {
	t.Parallel()
	const agent = "system:serviceaccount:monitoring:agent"
	for _, test := range []struct {
		version string
		gates   map[string]bool
		want    string
	}{
		{"1.31", nil, "[nodes/metrics] [get]; [nodes/proxy] [get]"},
		{"1.33", nil, "[nodes/metrics] [get]; [nodes/pods] [get]"},
		{"1.33", map[string]bool{"KubeletFineGrainedAuthz": false}, "[nodes/metrics] [get]; [nodes/proxy] [get]"},
		{"1.32", map[string]bool{"KubeletFineGrainedAuthz": true}, "[nodes/metrics] [get]; [nodes/pods] [get]"},
	} {
		t.Run(fmt.Sprint(test.version, test.gates), func(t *testing.T) {
			t.Parallel()
			k := kubelettest.New(t, kubelettest.WithVersion(test.version),
				kubelettest.WithUser(kubelettest.User{Name: agent, Token: true, Allow: []string{"* *"}}),
				kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
					c.FeatureGates = test.gates
				}))
			expect(t, k, agent, "/pods", 200, "PodList")
			expect(t, k, agent, "/metrics/resource", 200, "container_memory_working_set_bytes")
			role := k.Role(agent)
			var rules []string
			for _, r := range role.Rules {
				rules = append(rules, fmt.Sprint(r.Resources, " ", r.Verbs))
			}
			if got := strings.Join(rules, "; "); got != test.want {
				t.Errorf("the role has the rules %s, want %s", got, test.want)
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
	coarse := kubelettest.New(t, kubelettest.WithUser(kubelettest.User{Name: agent, Allow: []string{"* *"}}),
		kubelettest.WithVersion("1.35"), kubelettest.WithConfig(func(c *kubeletconfigv1beta1.KubeletConfiguration) {
			c.FeatureGates = map[string]bool{"KubeletFineGrainedAuthz": false}
		}))
	for _, test := range []struct {
		kubelet *kubelettest.Kubelet
		granted []string
		refused []string
		checks  string
	}{
		{k, []string{"nodes/pods", "nodes/proxy", "*/pods"}, []string{"nodes/metrics", "pods"},
			"nodes/pods or nodes/proxy"},
		{coarse, []string{"nodes/proxy"}, []string{"nodes/pods"}, "nodes/proxy"},
	} {
		expect(t, test.kubelet, agent, "/pods", 200, "PodList")
		for _, resource := range append(test.granted, test.refused...) {
			f := &failures{TB: t}
			test.kubelet.AssertGranted(f, agent, manifest(resource))
			if slices.Contains(test.granted, resource) != (len(f.texts) == 0) || len(f.texts) > 1 {
				t.Errorf("%s: the errors %q", resource, f.texts)
			}
			want := `GET /pods of user agent: the manifests do not grant the verb "get" on ` + test.checks
			if len(f.texts) == 1 && f.texts[0] != want {
				t.Errorf("%s: the error %q, want %q", resource, f.texts[0], want)
			}
		}
	}
}
