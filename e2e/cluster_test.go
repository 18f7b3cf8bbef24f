package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/testcerts"
)

// register makes the Node and its pods known to the apiserver, until the test ends.
func (c *controlPlane) register(t testing.TB, node string, port int, pods ...pod) {
	t.Helper()
	c.registerAt(t, node, "127.0.0.1", port, pods...)
}

func (c *controlPlane) registerAt(t testing.TB, node, address string, port int, pods ...pod) {
	t.Helper()
	ctx := context.Background()
	object, err := c.client.CoreV1().Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, c.client.CoreV1().Nodes().Delete(ctx, node, metav1.DeleteOptions{})) })
	object.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: address}}
	object.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	_, err = c.client.CoreV1().Nodes().UpdateStatus(ctx, object, metav1.UpdateOptions{})
	must(t, err)

	for _, p := range pods {
		if _, err := c.client.CoreV1().Namespaces().Get(ctx, p.namespace, metav1.GetOptions{}); err != nil {
			_, err := c.client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.namespace}}, metav1.CreateOptions{})
			must(t, err)
		}
		wanted := p.object()
		created := wanted.DeepCopy()
		created.UID, created.CreationTimestamp, created.Spec.NodeName = "", metav1.Time{}, node
		created, err := c.client.CoreV1().Pods(p.namespace).Create(ctx, created, metav1.CreateOptions{})
		must(t, err)
		now := int64(0)
		t.Cleanup(func() {
			must(t, c.client.CoreV1().Pods(p.namespace).Delete(ctx, p.name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
		})
		created.Status = wanted.Status
		_, err = c.client.CoreV1().Pods(p.namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{})
		must(t, err)
	}
}

// bind gives a subject a cluster role until the test ends, and waits until the apiserver acts on it.
func (c *controlPlane) bind(t testing.TB, role string, subject rbacv1.Subject) {
	t.Helper()
	ctx := context.Background()
	binding, err := c.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{subject},
	}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		must(t, c.client.RbacV1().ClusterRoleBindings().Delete(ctx, binding.Name, metav1.DeleteOptions{}))
		c.awaitAccess(t, subject, false)
	})
	c.awaitAccess(t, subject, true)
}

// awaitAccess waits until the apiserver's own RBAC says of nodes/proxy what is wanted.
func (c *controlPlane) awaitAccess(t testing.TB, subject rbacv1.Subject, wanted bool) {
	t.Helper()
	spec := authorizationv1.SubjectAccessReviewSpec{
		User:               subject.Name,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes", Subresource: "proxy", Name: "node-1"},
	}
	switch subject.Kind {
	case rbacv1.GroupKind:
		spec.User, spec.Groups = "somebody of "+subject.Name, []string{subject.Name}
	case rbacv1.ServiceAccountKind:
		spec.User = "system:serviceaccount:" + subject.Namespace + ":" + subject.Name
	}
	eventually(t, time.Minute, fmt.Sprintf("access of %s is %v", spec.User, wanted), func() string {
		answer, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(context.Background(), &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
		if err != nil {
			return err.Error()
		}
		if answer.Status.Allowed != wanted {
			return fmt.Sprintf("allowed is %v", answer.Status.Allowed)
		}
		return ""
	})
}

const kubeletAPIAdmin = "system:kubelet-api-admin"

func userNamed(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}

func groupNamed(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: name}
}

// token makes a service account in default, for the length of the test, and asks for a token of it.
func (c *controlPlane) token(t testing.TB, name string) (string, rbacv1.Subject) {
	t.Helper()
	ctx, accounts := context.Background(), c.client.CoreV1().ServiceAccounts("default")
	_, err := accounts.Create(ctx, &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, accounts.Delete(ctx, name, metav1.DeleteOptions{})) })
	request, err := accounts.CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	return request.Status.Token, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: name}
}

// said is what a command has printed, and its exit status.
type said struct {
	stdout, stderr string
	status         int
}

// kubectl runs it as the admin.
func (c *controlPlane) kubectl(t testing.TB, args ...string) said {
	t.Helper()
	return run(t, c.kubectlCommand(t, context.Background(), args...))
}

func (c *controlPlane) kubectlCommand(t testing.TB, ctx context.Context, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, binary(t, "kubectl"), append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
	cmd.Env = []string{"HOME=" + scratch, "KUBECACHEDIR=" + filepath.Join(filepath.Dir(c.kubeconfig), "cache")}
	return cmd
}

func run(t testing.TB, cmd *exec.Cmd) said {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", cmd.Args[0], err)
	}
	return said{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// refuses runs kubectl logs on the article's pod and wants these words, alone.
func (c *controlPlane) refuses(t testing.TB, words string) {
	t.Helper()
	if got := c.kubectl(t, "logs", "nginx"); got.status != 1 || got.stdout != "" || got.stderr != words+"\n" {
		t.Fatalf("kubectl logs nginx: status %d, stdout %q, stderr\n  %q, want\n  %q", got.status, got.stdout, got.stderr, words+"\n")
	}
}

// printsLogs runs kubectl logs on the article's pod and wants its log.
func (c *controlPlane) printsLogs(t testing.TB) {
	t.Helper()
	if got := c.kubectl(t, "logs", "nginx"); got != (said{stdout: nginxLog}) {
		t.Fatalf("kubectl logs nginx: %+v, want the log", got)
	}
}

// identity is what a client shows of itself.
type identity struct {
	pair  *testcerts.Pair
	token string
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// get asks a kubelet's secure port as that identity, on a connection of its own.
func (k *kubelet) get(t testing.TB, path string, as identity) answer {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true} // who the client is, is what is tested
	if as.pair != nil {
		pair := as.pair.TLS()
		// Sent whatever CAs the kubelet names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	request, err := http.NewRequest(http.MethodGet, "https://"+k.secure+path, nil)
	must(t, err)
	if as.token != "" {
		request.Header.Set("Authorization", "Bearer "+as.token)
	}
	return send(t, transport, request)
}

func send(t testing.TB, transport http.RoundTripper, request *http.Request) answer {
	t.Helper()
	response, err := transport.RoundTrip(request)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}

// wants fails the test if the kubelet answers otherwise. An empty body stands for any.
func (k *kubelet) wants(t testing.TB, path string, as identity, status int, body string) {
	t.Helper()
	if got := k.get(t, path, as); got.status != status || body != "" && got.body != body {
		t.Errorf("GET %s: %d %q, want %d %q", path, got.status, got.body, status, body)
	}
}

// openssl runs it, and gives what it says and whether it succeeded.
func openssl(t testing.TB, args ...string) (string, bool) {
	t.Helper()
	got := run(t, exec.Command("openssl", args...))
	return got.stdout + got.stderr, got.status == 0
}

// content is that of a file.
func content(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

// forbidden is the answer to who is known and may not. Its line feed shows in kubectl's words too.
func forbidden(user string) string {
	return fmt.Sprintf("Forbidden (user=%s, verb=get, resource=nodes, subresource(s)=[proxy])\n", user)
}

func contains(t testing.TB, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s: %q, want %q in it", what, text, part)
	}
}
