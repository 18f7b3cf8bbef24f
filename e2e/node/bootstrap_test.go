package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/testcerts"
)

// bootstrapping has the kube-apiserver flags for nodes that join with a bootstrap token.
var bootstrapping = append([]string{"--enable-bootstrap-token-auth"}, controlplane.ForNodes...)

// bootstrapGuide returns the guide docs/bootstrap.md, prepared for one node of a control plane.
func bootstrapGuide(t testing.TB, plane *controlplane.Plane, node string) *guide.Guide {
	t.Helper()
	g := guide.New(t, "bootstrap.md", t.TempDir(), "kubectl", "fauxlet")
	expect.NoError(t, os.WriteFile(filepath.Join(g.Dir, "ca.crt"), plane.PKI.CA.CertPEM(), 0o644))
	g.Env = append(g.Env, "KUBECONFIG="+plane.Kubeconfig, "APISERVER="+plane.URL, "NODE="+node)
	return g
}

// startGuideNode starts the node of docs/bootstrap.md. It does not wait until the node listens.
func startGuideNode(t testing.TB, g *guide.Guide, plane *controlplane.Plane, name string) *bootstrapped {
	t.Helper()
	const beside = "address: 127.0.0.1\nhealthzPort: 0\n"
	expect.NoError(t, os.WriteFile(filepath.Join(g.Dir, "kubelet.yaml"), []byte(g.Block(t, "The node", "yaml")+beside),
		0o644))
	command := strings.Fields(strings.ReplaceAll(g.Block(t, "The node", "sh"), "$NODE", name))
	return startBootstrapped(t, plane, name, g.Dir, command[1:])
}

// bootstrapped is a stand-in kubelet process that obtains its certificates from the cluster.
type bootstrapped struct {
	*programs.Process
	plane     *controlplane.Plane
	name, dir string
	program   string
	args      []string
}

func startBootstrapped(t testing.TB, plane *controlplane.Plane, name, dir string, args []string) *bootstrapped {
	t.Helper()
	return startProgram(t, plane, "fauxlet", name, dir, args)
}

// startProgram starts a build of fauxlet from package programs: "fauxlet" or programs.JumpingClock.
func startProgram(t testing.TB, plane *controlplane.Plane, program, name, dir string, args []string) *bootstrapped {
	t.Helper()
	b := &bootstrapped{plane: plane, program: program, name: name, dir: dir, args: append(args, "--port", "0", "-v=2")}
	b.start(t)
	t.Cleanup(func() {
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		b.LogOnFailure(t, 0)
		ctx := context.Background()
		plane.DeleteNode(t, name)
		for _, signer := range []string{controlplane.ClientSigner, controlplane.ServingSigner} {
			for _, request := range plane.CertificateRequests(t, name, signer) {
				expect.NoError(t, plane.Client.CertificatesV1().CertificateSigningRequests().Delete(ctx, request.Name,
					metav1.DeleteOptions{}))
			}
		}
	})
	return b
}

// start starts the process in its folder. After the process has ended, start can be called again.
func (b *bootstrapped) start(t testing.TB) {
	t.Helper()
	// A shell changes the working folder, because programs.Start cannot.
	var err error
	b.Process, err = programs.Start("fauxlet", "/bin/sh",
		append([]string{"-c", `cd "$0" && exec "$@"`, b.dir, programs.Path(t, b.program)}, b.args...)...)
	expect.NoError(t, err)
}

// The method "again" restarts the process: it kills the process with SIGKILL and starts a new one.
func (b *bootstrapped) again(t testing.TB) {
	t.Helper()
	_ = b.Cmd.Process.Kill()
	<-b.Ended
	b.start(t)
}

// awaitLog waits until the process has logged some text.
func (b *bootstrapped) awaitLog(t testing.TB, words string) {
	t.Helper()
	expect.Eventually(t, time.Minute, "the log contains "+words, func() string {
		if !strings.Contains(b.Out.String(), words) {
			return "not yet"
		}
		return ""
	})
}

// current waits until the symbolic link to the node's current certificate points to a new file. Then it checks the
// name and mode of the new file and returns its path. The parameter "kind" is "client" or "server". The parameter
// "before" is the file to which the link pointed before.
func (b *bootstrapped) current(t testing.TB, kind, before string) string {
	t.Helper()
	link := filepath.Join(b.dir, "pki", "kubelet-"+kind+"-current.pem")
	var target string
	expect.Eventually(t, 3*time.Minute, "a new "+link, func() string {
		var err error
		if target, err = os.Readlink(link); err != nil {
			return err.Error()
		}
		if target == before {
			return "it still is " + before
		}
		return ""
	})
	pattern := "^" + regexp.QuoteMeta(filepath.Join(b.dir, "pki", "kubelet-"+kind)) + `-\d{4}(-\d\d){5}\.pem$`
	if !regexp.MustCompile(pattern).MatchString(target) {
		t.Errorf("%s points to %s", link, target)
	}
	if info, err := os.Stat(target); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: %v, %v", target, info, err)
	}
	return target
}

// wantsRequest fails the test unless a certificate request has the same fields as a request from a kubelet.
func wantsRequest(t testing.TB, request certificatesv1.CertificateSigningRequest, node, asker string,
	usage certificatesv1.KeyUsage, names, addresses string) {
	t.Helper()
	subject := controlplane.ParseRequest(t, request)
	got := fmt.Sprintf("%s by %s, %v, %v %v", subject.Subject, request.Spec.Username, request.Spec.Usages,
		subject.DNSNames, subject.IPAddresses)
	want := fmt.Sprintf("CN=system:node:%s,O=system:nodes by %s, [digital signature %s], %s %s", node, asker, usage,
		names, addresses)
	if got != want {
		t.Errorf("requested %s\n     want %s", got, want)
	}
}

// TestBootstrap runs the commands of docs/bootstrap.md, from a token to rotated certificates.
//
// The test proves statement 11 of docs/claims.md.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := controlplane.New(t, bootstrapping)
	// A node rotates a certificate after 70 to 90 % of its lifetime. Here a lifetime is seven minutes, and begins five
	// minutes before the certificate is issued. Therefore the node rotates a certificate at most 78 seconds after its
	// issue.
	const life = 2 * time.Minute
	plane.StartControllerManager(t, controlplane.CertificateControllers, life)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	const node = "node-1"
	g := bootstrapGuide(t, plane, node)

	g.Run(t, "A token")
	g.Run(t, "A kubeconfig for it")
	b := startGuideNode(t, g, plane, node)
	b.awaitLog(t, `User \"system:bootstrap:07401b\" cannot create resource \"certificatesigningrequests\"`)
	b.awaitLog(t,
		"kubectl create clusterrolebinding kubelet-bootstrap --clusterrole=system:node-bootstrapper "+
			"--group=system:bootstrappers")
	g.Run(t, "What the token may do")

	client := b.current(t, "client", "")
	first := plane.CertificateRequests(t, node, controlplane.ClientSigner)[0]
	wantsRequest(t, first, node, "system:bootstrap:07401b", "client auth", "[]", "[]")
	if leaf := controlplane.ReadCertificate(t, client); leaf.NotAfter.Sub(leaf.NotBefore) != life+5*time.Minute {
		t.Errorf("the client certificate is valid from %v to %v, want %v and 5 minutes", leaf.NotBefore, leaf.NotAfter,
			life)
	}
	kubeconfig, err := clientcmd.LoadFromFile(filepath.Join(g.Dir, "kubelet.conf"))
	expect.NoError(t, err)
	if user := kubeconfig.AuthInfos["default-auth"]; user == nil ||
		user.ClientCertificate != filepath.Join(g.Dir, "pki/kubelet-client-current.pem") &&
			user.ClientCertificate != "pki/kubelet-client-current.pem" {
		t.Errorf("kubeconfig: %+v", user)
	}
	if info, err := os.Stat(filepath.Join(g.Dir, "kubelet.conf")); err != nil || info.Mode() != 0o600 {
		t.Errorf("kubelet.conf: %v, %v", info, err)
	}

	plane.AwaitNode(t, node, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	serving := plane.PendingRequest(t, node, controlplane.ServingSigner)
	wantsRequest(t, serving, node, "system:node:"+node, "server auth", "[node-1]", "[127.0.0.1]")
	b.awaitLog(t, "kubectl certificate approve "+serving.Name)
	plane.CreatePod(t, controlplane.BoundTo(node, "web"))
	plane.AwaitPod(t, "web", "runs", controlplane.PhaseIs(v1.PodRunning))
	logs := func() programs.Result { return plane.Kubectl(t, "logs", "web", "--tail=1") }
	if got := logs(); got.Status != 1 || !strings.HasSuffix(got.Stderr, "remote error: tls: internal error\n") {
		t.Errorf("kubectl logs before the approval: %+v", got)
	}
	b.awaitLog(t, "no serving certificate available for the kubelet")

	expect.Contains(t, "kubectl get csr", g.Run(t, "Approve", "CSR="+serving.Name).Stdout, "Pending")
	server := b.current(t, "server", "")
	expect.Eventually(t, time.Minute, "kubectl logs", func() string { return logs().Stderr })
	expect.Contains(t, "kubectl logs", logs().Stdout, "HTTP/1.1")

	// The node requests its next client certificate with the current one, and a controller approves the request. The
	// request for the next serving certificate waits for approval.
	b.current(t, "client", client)
	wantsRequest(t, plane.CertificateRequests(t, node, controlplane.ClientSigner)[1], node, "system:node:"+node,
		"client auth", "[]", "[]")
	b.awaitLog(t, "new client certificate: closing connections that used the previous one")
	next := plane.PendingRequest(t, node, controlplane.ServingSigner)
	wantsRequest(t, next, node, "system:node:"+node, "server auth", "[node-1]", "[127.0.0.1]")
	g.Run(t, "Approve", "CSR="+next.Name)
	b.current(t, "server", server)
	expect.Eventually(t, time.Minute, "kubectl logs", func() string { return logs().Stderr })
	expect.NoError(t, b.Stop()) // then its log is whole
	if log := b.Out.String(); strings.Contains(log, "f395accd246ae52d") || strings.Contains(log, "PRIVATE KEY") {
		t.Error("the log contains a secret")
	}
}

// bootstrapPlane returns a control plane for nodes with bootstrap tokens. The controllers approve client
// certificates for bootstrap tokens of the group "auto". They do not approve them for tokens of the group "manual".
// Certificates are valid for an hour.
func bootstrapPlane(t testing.TB) *controlplane.Plane {
	t.Helper()
	plane := controlplane.Shared(t, bootstrapping)
	plane.StartControllerManager(t, controlplane.CertificateControllers, time.Hour)
	plane.BindGroup(t, "system:node-bootstrapper", "system:bootstrappers")
	plane.BindGroup(t, "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers:auto")
	return plane
}

// startBootstrapNode starts fauxlet as a node that has a bootstrap token of the given group, and no kubeconfig
// besides the bootstrap kubeconfig.
func startBootstrapNode(t testing.TB, c *controlplane.Plane, name, group string, rotate bool,
	args ...string) *bootstrapped {
	t.Helper()
	return startBootstrapNodeOf(t, c, "fauxlet", name, group, rotate, args...)
}

// startBootstrapNodeOf is like startBootstrapNode, but runs the named build of fauxlet.
func startBootstrapNodeOf(t testing.TB, c *controlplane.Plane, program, name, group string, rotate bool,
	args ...string) *bootstrapped {
	t.Helper()
	dir := t.TempDir()
	bootstrapToken(t, c, filepath.Join(dir, "bootstrap.conf"), group)
	config, err := kubelet.Settings{"rotateCertificates": rotate, "serverTLSBootstrap": true}.YAML(c.PKI)
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(filepath.Join(dir, "kubelet.yaml"), config, 0o644))
	return startProgram(t, c, program, name, dir,
		append([]string{"serve", "--config", "kubelet.yaml", "--bootstrap-kubeconfig", "bootstrap.conf",
			"--kubeconfig", "kubelet.conf", "--cert-dir", "pki", "--hostname-override", name}, args...))
}

// bootstrapToken creates a bootstrap token, which is deleted when the test ends, and writes a kubeconfig with that
// token.
func bootstrapToken(t testing.TB, c *controlplane.Plane, file, group string) {
	t.Helper()
	ctx, secrets := context.Background(), c.Client.CoreV1().Secrets("kube-system")
	id := fmt.Sprintf("%06x", time.Now().UnixNano()&0xffffff)
	_, err := secrets.Create(ctx, &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id}, Type: v1.SecretTypeBootstrapToken,
		StringData: map[string]string{"token-id": id, "token-secret": "0123456789abcdef",
			"usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:" + group},
	}, metav1.CreateOptions{})
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, secrets.Delete(ctx, "bootstrap-token-"+id, metav1.DeleteOptions{})) })
	expect.NoError(t, c.WriteKubeconfig(file, "bootstrap"))
	config, err := clientcmd.LoadFromFile(file)
	expect.NoError(t, err)
	config.AuthInfos["bootstrap"].ClientCertificateData, config.AuthInfos["bootstrap"].ClientKeyData = nil, nil
	config.AuthInfos["bootstrap"].Token = id + ".0123456789abcdef"
	expect.NoError(t, clientcmd.WriteToFile(*config, file))
}

// TestBootstrapContinuesAfterKill kills a node while its request is pending. With rotation, the private key was only
// in memory, so the restarted node sends a new request. Without rotation, the key is in a file, and the restarted
// node waits for the first request.
func TestBootstrapContinuesAfterKill(t *testing.T) {
	t.Parallel()
	plane := bootstrapPlane(t)
	for kind, rotate := range map[string]bool{"rotating": true, "once": false} {
		t.Run(kind, func(t *testing.T) {
			name := "killed-" + kind
			b := startBootstrapNode(t, plane, name, "manual", rotate)
			const starts = 4
			seen := map[string]bool{}
			for n := range starts {
				if n > 0 {
					b.again(t)
				}
				b.awaitLog(t, "kubectl certificate approve ")
				for _, request := range plane.CertificateRequests(t, name, controlplane.ClientSigner) {
					seen[request.Name] = true
					if strings.HasPrefix(request.Name, "node-csr-") == rotate {
						t.Errorf("the name of the request is %s", request.Name)
					}
				}
				if want := n + 1; rotate && len(seen) != want || !rotate && len(seen) != 1 {
					t.Fatalf("after %d starts of the node, the requests are %v", n+1, seen)
				}
			}
			for name := range seen {
				plane.KubectlPrints(t, []string{"approved"}, "certificate", "approve", name)
			}
			b.current(t, "client", "")
			plane.AwaitNode(t, name, "is registered", func(*v1.Node) string { return "" })
			if all := plane.CertificateRequests(t, name, controlplane.ClientSigner); len(all) != len(seen) {
				t.Errorf("%d requests after %d starts of the node", len(all), starts)
			}
		})
	}
}

// TestBootstrapRequestsAgainAfterDenial denies a node's certificate request. The node logs the denial and sends another
// request.
func TestBootstrapRequestsAgainAfterDenial(t *testing.T) {
	t.Parallel()
	plane := bootstrapPlane(t)
	b := startBootstrapNode(t, plane, "denied", "manual", true)
	first := plane.PendingRequest(t, b.name, controlplane.ClientSigner)
	plane.KubectlPrints(t, []string{"denied"}, "certificate", "deny", first.Name)
	b.awaitLog(t, "request denied")
	second := plane.PendingRequest(t, b.name, controlplane.ClientSigner)
	plane.KubectlPrints(t, []string{"approved"}, "certificate", "approve", second.Name)
	b.current(t, "client", "")
}

// TestBootstrapAfterExpiry starts a node whose client certificate has expired. The node requests a new certificate
// with its bootstrap kubeconfig, and keeps the file of the old certificate.
func TestBootstrapAfterExpiry(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := bootstrapPlane(t)
	b := startBootstrapNode(t, plane, "away", "auto", true)
	good := b.current(t, "client", "")
	plane.AwaitNode(t, b.name, "is registered", func(*v1.Node) string { return "" })
	expect.NoError(t, b.Stop())

	expired, err := plane.PKI.CA.Client("system:node:away", []string{"system:nodes"}, testcerts.Expired)
	expect.NoError(t, err)
	old := filepath.Join(b.dir, "pki", "kubelet-client-2026-01-02-03-04-05.pem")
	expect.NoError(t, os.WriteFile(old, append(expired.CertPEM, expired.KeyPEM...), 0o600))
	link := filepath.Join(b.dir, "pki", "kubelet-client-current.pem")
	expect.NoError(t, os.Remove(link))
	expect.NoError(t, os.Symlink(old, link))
	b.start(t)
	if again := b.current(t, "client", old); again == good {
		t.Error("the node uses the valid certificate that the test replaced with an expired one")
	}
	b.awaitLog(t, "the client certificate expired at ")
	if _, err := os.Stat(old); err != nil {
		t.Error(err)
	}
	if all := plane.CertificateRequests(t, b.name, controlplane.ClientSigner); len(all) != 2 ||
		!strings.HasPrefix(all[1].Spec.Username, "system:bootstrap:") {
		t.Errorf("%d certificate requests; user of the last one: %s", len(all), all[len(all)-1].Spec.Username)
	}
}

// TestBootstrapManyNodes runs several nodes in one process. Each node has its own certificates, and keeps them when
// the process is killed and started again.
func TestBootstrapManyNodes(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := bootstrapPlane(t)
	plane.BindGroup(t, "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes")
	const nodes = 20
	metrics := fmt.Sprintf("127.0.0.1:%d", programs.FreePort(t))
	b := startBootstrapNode(t, plane, "many", "auto", true, "--nodes", fmt.Sprint(nodes), "--node-name-prefix", "many-",
		"--metrics-address", metrics)
	names := func() (names []string) {
		list, err := plane.Client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
		expect.NoError(t, err)
		for _, node := range list.Items {
			if strings.HasPrefix(node.Name, "many-") && controlplane.ReadyIs(v1.ConditionTrue)(&node) == "" {
				names = append(names, node.Name)
			}
		}
		return names
	}
	count := func(what string, count func() int) {
		t.Helper()
		expect.Eventually(t, 2*time.Minute, fmt.Sprintf("%d %s", nodes, what), func() string {
			if got := count(); got != nodes {
				return fmt.Sprint(got)
			}
			return ""
		})
	}
	count("nodes are Ready", func() int { return len(names()) })
	all := names()
	t.Cleanup(func() {
		for _, name := range all {
			forget(t, plane, name)
			expect.NoError(t, plane.Client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}))
		}
	})
	var waiting []string
	for _, name := range all {
		request := plane.PendingRequest(t, name, controlplane.ServingSigner)
		wantsRequest(t, request, name, "system:node:"+name, "server auth", "["+name+"]", "[127.0.0.1]")
		waiting = append(waiting, request.Name)
	}
	plane.KubectlPrints(t, nil, append([]string{"certificate", "approve"}, waiting...)...)
	served := func() int {
		links, err := filepath.Glob(filepath.Join(b.dir, "pki", "many-*", "kubelet-server-current.pem"))
		expect.NoError(t, err)
		return len(links)
	}
	count("have a serving certificate", served)
	// The certificates are valid for one hour and five minutes, so about 3900 seconds remain.
	ttl := regexp.MustCompile(
		`(?m)^kubelet_certificate_manager_(client|server)_ttl_seconds\{node="many-\d+"\} 3\.?\d+(e\+03)?$`)
	expect.Eventually(t, time.Minute, "the metrics contain the certificates of all nodes", func() string {
		text := expect.Page(t, "http://"+metrics+"/metrics")
		if got := len(ttl.FindAllString(text, -1)); got != 2*nodes {
			return fmt.Sprintf("%d, want %d", got, 2*nodes)
		}
		return ""
	})

	b.again(t)
	b.awaitLog(t, `"msg":"serving"`)
	count("nodes are Ready again", func() int { return len(names()) })
	for _, name := range all {
		if n, m := len(plane.CertificateRequests(t, name, controlplane.ClientSigner)),
			len(plane.CertificateRequests(t, name, controlplane.ServingSigner)); n != 1 || m != 1 {
			t.Errorf("%s requested %d client certificates and %d serving certificates", name, n, m)
		}
	}
}
