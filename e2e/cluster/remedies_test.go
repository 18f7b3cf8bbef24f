package cluster

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/explain"
)

// TestRemediesForForbidden explains requests that get 403 from a real kube-apiserver, and runs the kubectl commands of
// each remedy. No command may fail, and the same request must then be allowed. A remedy other than
// system:kubelet-api-admin must allow nothing else, and no remedy may allow anything to another user. The test
// TestRemediesForForbidden in internal/explain/offline does the same with many more requests.
func TestRemediesForForbidden(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	dir := t.TempDir()
	config, err := kubelet.Settings{}.YAML(plane.PKI)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(filepath.Join(dir, "kubelet.yaml"), config, 0o600))
	expect.NoError(t, plane.WriteKubeconfig(filepath.Join(dir, "kubeconfig"), "system:node:node-1", "system:nodes"))
	certificate := func(user string, groups ...string) []string {
		t.Helper()
		pair, err := plane.PKI.CA.Client(user, groups)
		expect.NoError(t, err)
		file := filepath.Join(t.TempDir(), "client.crt")
		expect.NoError(t, os.WriteFile(file, pair.CertPEM, 0o600))
		return []string{"--client-cert", file}
	}
	secret, _ := plane.Token(t, "remedied")
	token := filepath.Join(dir, "token")
	expect.NoError(t, os.WriteFile(token, []byte(secret), 0o600))

	for _, test := range []struct {
		name     string
		request  []string
		remedies int // how many remedies create a binding
	}{
		{"a log for a client certificate", append(certificate("log reader's; $(id)", "a group"),
			"/containerLogs/default/nginx/nginx"), 2},
		{"exec for a client certificate", append(certificate("executor"), "POST",
			"/exec/default/nginx/nginx?command=id&output=1"), 2},
		{"fine-grained authorization", append(certificate("oidc:alice"), "/pods"), 2},
		{"metrics for a service account", []string{"--token-file", token, "/metrics/resource"}, 2},
		{"not part of system:kubelet-api-admin", append(certificate("statusz-reader"), "/statusz"), 1},
		{"the identity of a node", append(certificate("system:node:node-2", "system:nodes"), "/pods"), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			explained := func() explain.Explanation {
				t.Helper()
				args := append([]string{"explain", "--config", filepath.Join(dir, "kubelet.yaml"), "--kubeconfig",
					filepath.Join(dir, "kubeconfig"), "--hostname-override", "node-1", "--json"}, test.request...)
				got := programs.Run(t, exec.Command(programs.Path(t, "fauxlet"), args...))
				var e explain.Explanation
				if err := json.Unmarshal([]byte(got.Stdout), &e); err != nil {
					t.Fatalf("fauxlet %q: %v: %+v", args, err, got)
				}
				return e
			}
			before := explained()
			if before.Status != 403 {
				t.Fatalf("status %d before the remedies: %s", before.Status, before.Reason)
			}
			applied := 0
			for _, remedy := range before.Remedies {
				if strings.Contains(remedy.Kubectl, "kubectl create clusterrole") {
					applied++
					tryRemedy(t, plane, remedy.Kubectl, func() string {
						if after := explained(); after.Outcome != explain.Allowed {
							return after.Reason
						}
						return ""
					})
				}
			}
			if applied != test.remedies {
				t.Errorf("%d remedies create a binding, want %d: %+v", applied, test.remedies, before.Remedies)
			}
		})
	}
}

// tryRemedy runs the commands of a remedy, checks their effect, and deletes the objects that they have created. The
// function "refused" returns why the request is still refused, or an empty string.
func tryRemedy(t *testing.T, plane *controlplane.Plane, commands string, refused func() string) {
	t.Helper()
	run := func(script string) programs.Result {
		cmd := exec.Command("bash", "-ec", script)
		cmd.Env = append(guide.New(t, "explain.md", t.TempDir(), "kubectl").Env, "KUBECONFIG="+plane.Kubeconfig)
		return programs.Run(t, cmd)
	}
	create, canI, _ := strings.Cut(commands, "kubectl auth can-i")
	got := run(create)
	created := regexp.MustCompile(`(?m)^([a-z]+)\.rbac\.authorization\.k8s\.io/(.*) created$`).
		FindAllStringSubmatch(got.Stdout, -1)
	if got.Status != 0 || got.Stderr != "" || len(created) == 0 {
		t.Errorf("%s: %+v", create, got)
	}
	// kube-apiserver applies a new binding after a moment.
	expect.Eventually(t, time.Minute, "kubectl auth can-i prints yes", func() string {
		if got := run("kubectl auth can-i" + canI); got.Status != 0 || got.Stdout != "yes\n" {
			return got.Stdout + got.Stderr
		}
		return ""
	})
	expect.Eventually(t, time.Minute, "the request is allowed", refused)

	as := regexp.MustCompile(`--as=(.*?) --as-group`).FindStringSubmatch(canI)
	if as == nil {
		t.Fatalf("no user in %s", canI)
	}
	user := run("printf %s " + as[1]).Stdout
	wide := strings.Contains(create, "system:kubelet-api-admin")
	for _, asked := range []struct{ user, verb, resource, subresource string }{
		{user, "delete", "nodes", "proxy"}, {user, "get", "nodes", "status"}, {user, "get", "secrets", ""},
		{user, "create", "pods", "exec"}, {"another", "get", "nodes", "proxy"}, {"another", "get", "nodes", "metrics"},
		{"another", "get", "nodes", "pods"}, {"system:node:node-1", "create", "nodes", "proxy"},
	} {
		if asked.subresource == "proxy" && asked.user == user && wide {
			continue // all verbs of nodes/proxy belong to the role
		}
		review, err := plane.Client.AuthorizationV1().SubjectAccessReviews().Create(context.Background(),
			&authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: asked.user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: asked.verb, Resource: asked.resource,
					Subresource: asked.subresource, Name: "node-2"}}}, metav1.CreateOptions{})
		expect.NoError(t, err)
		if review.Status.Allowed {
			t.Errorf("%s also allows %+v", create, asked)
		}
	}
	for _, object := range created {
		if got := plane.Kubectl(t, "delete", object[1], object[2]); got.Status != 0 {
			t.Errorf("kubectl delete: %+v", got)
		}
	}
}
