package e2e

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

	"fauxlet/testcerts"
)

// bootstrapping are the flags of a control plane that a node joins with nothing but a token.
var bootstrapping = append([]string{"--enable-bootstrap-token-auth"}, joining...)

// bootstrapGuide is docs/bootstrap.md for a node of a control plane.
func bootstrapGuide(t testing.TB, plane *controlPlane, node string) *guide {
	t.Helper()
	g := newGuide(t, "bootstrap.md", t.TempDir(), "kubectl", "fauxlet")
	must(t, os.WriteFile(filepath.Join(g.dir, "ca.crt"), plane.pki.ca.CertPEM(), 0o644))
	g.env = append(g.env, "KUBECONFIG="+plane.kubeconfig, "APISERVER="+plane.url, "NODE="+node)
	return g
}

// node starts the page's node, which need not listen yet.
func (g *guide) node(t testing.TB, plane *controlPlane, name string) *bootstrapped {
	t.Helper()
	const beside = "address: 127.0.0.1\nhealthzPort: 0\n"
	must(t, os.WriteFile(filepath.Join(g.dir, "kubelet.yaml"), []byte(g.block(t, "The node", "yaml")+beside), 0o644))
	command := strings.Fields(strings.ReplaceAll(g.block(t, "The node", "sh"), "$NODE", name))
	return startBootstrapped(t, plane, name, g.dir, command[1:])
}

// bootstrapped is a stand-in that may have no certificate yet.
type bootstrapped struct {
	*process
	plane     *controlPlane
	name, dir string
	program   string
	args      []string
}

func startBootstrapped(t testing.TB, plane *controlPlane, name, dir string, args []string) *bootstrapped {
	t.Helper()
	return startProgram(t, plane, "fauxlet", name, dir, args)
}

// startProgram starts one of the builds of fauxlet.
func startProgram(t testing.TB, plane *controlPlane, program, name, dir string, args []string) *bootstrapped {
	t.Helper()
	b := &bootstrapped{plane: plane, program: program, name: name, dir: dir, args: append(args, "--port", "0", "-v=2")}
	b.start(t)
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Error(err)
		}
		b.tell(t, 0)
		ctx := context.Background()
		_ = plane.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
		for _, signer := range []string{clientSigner, servingSigner} {
			for _, request := range plane.requests(t, name, signer) {
				must(t, plane.client.CertificatesV1().CertificateSigningRequests().Delete(ctx, request.Name, metav1.DeleteOptions{}))
			}
		}
	})
	return b
}

// start starts it in its folder, for the first time or again.
func (b *bootstrapped) start(t testing.TB) {
	t.Helper()
	// start takes no folder: the shell goes there.
	var err error
	b.process, err = start("fauxlet", "/bin/sh", append([]string{"-c", `cd "$0" && exec "$@"`, b.dir, binary(t, b.program)}, b.args...)...)
	must(t, err)
}

// again ends it as with kill -9, and starts it again.
func (b *bootstrapped) again(t testing.TB) {
	t.Helper()
	_ = b.cmd.Process.Kill()
	<-b.ended
	b.start(t)
}

// tells waits for words in its log.
func (b *bootstrapped) tells(t testing.TB, words string) {
	t.Helper()
	eventually(t, time.Minute, "the log has "+words, func() string {
		if !strings.Contains(b.out.String(), words) {
			return "not yet"
		}
		return ""
	})
}

// current waits until the link of a "client" or "server" points to another file than before, and gives that.
func (b *bootstrapped) current(t testing.TB, kind, before string) string {
	t.Helper()
	link := filepath.Join(b.dir, "pki", "kubelet-"+kind+"-current.pem")
	var target string
	eventually(t, 3*time.Minute, "a new "+link, func() string {
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

// wantsRequest holds a request to what a kubelet asks for.
func wantsRequest(t testing.TB, request certificatesv1.CertificateSigningRequest, node, asker string, usage certificatesv1.KeyUsage, names, addresses string) {
	t.Helper()
	subject := requested(t, request)
	got := fmt.Sprintf("%s by %s, %v, %v %v", subject.Subject, request.Spec.Username, request.Spec.Usages, subject.DNSNames, subject.IPAddresses)
	want := fmt.Sprintf("CN=system:node:%s,O=system:nodes by %s, [digital signature %s], %s %s", node, asker, usage, names, addresses)
	if got != want {
		t.Errorf("requested %s\n     want %s", got, want)
	}
}

// TestClaim11Bootstrap is docs/bootstrap.md, from nothing but a token to rotated certificates. The signing duration is claim
// 16's, the kubelet's configuration that of claim 14 for production.
func TestClaim11Bootstrap(t *testing.T) {
	t.Parallel() // it waits most of the time
	plane := newControlPlane(t, bootstrapping)
	t.Cleanup(func() { must(t, plane.apiserver.stop()) })
	// Certificates are dated five minutes back: a rotation comes after -6 to 78 seconds.
	const life = 2 * time.Minute
	plane.startControllerManager(t, certificateControllers, life)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	const node = "node-1"
	g := bootstrapGuide(t, plane, node)

	g.run(t, "A token")
	g.run(t, "A kubeconfig for it")
	b := g.node(t, plane, node)
	b.tells(t, `User \"system:bootstrap:07401b\" cannot create resource \"certificatesigningrequests\"`)
	b.tells(t, "kubectl create clusterrolebinding kubelet-bootstrap --clusterrole=system:node-bootstrapper --group=system:bootstrappers")
	g.run(t, "What the token may do")

	client := b.current(t, "client", "")
	first := plane.requests(t, node, clientSigner)[0]
	wantsRequest(t, first, node, "system:bootstrap:07401b", "client auth", "[]", "[]")
	if leaf := issuedTo(t, client); leaf.NotAfter.Sub(leaf.NotBefore) != life+5*time.Minute {
		t.Errorf("the client certificate is good from %v to %v, want %v more than 5 minutes", leaf.NotBefore, leaf.NotAfter, life)
	}
	kubeconfig, err := clientcmd.LoadFromFile(filepath.Join(g.dir, "kubelet.conf"))
	must(t, err)
	if user := kubeconfig.AuthInfos["default-auth"]; user == nil || user.ClientCertificate != filepath.Join(g.dir, "pki/kubelet-client-current.pem") && user.ClientCertificate != "pki/kubelet-client-current.pem" {
		t.Errorf("kubeconfig: %+v", user)
	}
	if info, err := os.Stat(filepath.Join(g.dir, "kubelet.conf")); err != nil || info.Mode() != 0o600 {
		t.Errorf("kubelet.conf: %v, %v", info, err)
	}

	plane.awaitNode(t, node, "is Ready", readyIs(v1.ConditionTrue))
	serving := plane.pending(t, node, servingSigner)
	wantsRequest(t, serving, node, "system:node:"+node, "server auth", "[node-1]", "[127.0.0.1]")
	b.tells(t, "kubectl certificate approve "+serving.Name)
	plane.create(t, boundTo(node, "web"))
	plane.awaitPod(t, "web", "runs", phaseIs(v1.PodRunning))
	logs := func() said { return plane.kubectl(t, "logs", "web", "--tail=1") }
	if got := logs(); got.status != 1 || !strings.HasSuffix(got.stderr, "remote error: tls: internal error\n") {
		t.Errorf("kubectl logs before the approval: %+v", got)
	}
	b.tells(t, "no serving certificate available for the kubelet")

	contains(t, "kubectl get csr", g.run(t, "Approve", "CSR="+serving.Name).stdout, "Pending")
	server := b.current(t, "server", "")
	eventually(t, time.Minute, "kubectl logs", func() string { return logs().stderr })
	contains(t, "kubectl logs", logs().stdout, "HTTP/1.1")

	// The client's next one is asked for with the one before, and approved by itself; the next for serving waits.
	b.current(t, "client", client)
	wantsRequest(t, plane.requests(t, node, clientSigner)[1], node, "system:node:"+node, "client auth", "[]", "[]")
	b.tells(t, "connections of the one before are closed")
	next := plane.pending(t, node, servingSigner)
	wantsRequest(t, next, node, "system:node:"+node, "server auth", "[node-1]", "[127.0.0.1]")
	g.run(t, "Approve", "CSR="+next.Name)
	b.current(t, "server", server)
	eventually(t, time.Minute, "kubectl logs", func() string { return logs().stderr })
	if log := b.out.String(); strings.Contains(log, "f395accd246ae52d") || strings.Contains(log, "PRIVATE KEY") {
		t.Error("the log has a secret")
	}
}

// bootstrapPlane is a control plane for nodes with a token of the group "auto", whose requests are approved by themselves,
// or of "manual". Certificates are good for an hour.
func bootstrapPlane(t testing.TB) *controlPlane {
	t.Helper()
	plane := withFlags(t, bootstrapping)
	plane.startControllerManager(t, certificateControllers, time.Hour)
	plane.allow(t, "system:node-bootstrapper", "system:bootstrappers")
	plane.allow(t, "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers:auto")
	return plane
}

// node starts a node with a token of a group, without its kubeconfig.
func (c *controlPlane) node(t testing.TB, name, group string, rotate bool, args ...string) *bootstrapped {
	t.Helper()
	return c.nodeOf(t, "fauxlet", name, group, rotate, args...)
}

// nodeOf starts one of a build of fauxlet.
func (c *controlPlane) nodeOf(t testing.TB, program, name, group string, rotate bool, args ...string) *bootstrapped {
	t.Helper()
	dir := t.TempDir()
	c.bootstrapToken(t, filepath.Join(dir, "bootstrap.conf"), group)
	config, err := settings{"rotateCertificates": rotate, "serverTLSBootstrap": true}.yaml(c.pki)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "kubelet.yaml"), config, 0o644))
	return startProgram(t, c, program, name, dir, append([]string{"serve", "--config", "kubelet.yaml", "--bootstrap-kubeconfig", "bootstrap.conf",
		"--kubeconfig", "kubelet.conf", "--cert-dir", "pki", "--hostname-override", name}, args...))
}

// bootstrapToken makes one, until the test ends, and a kubeconfig for it.
func (c *controlPlane) bootstrapToken(t testing.TB, file, group string) {
	t.Helper()
	ctx, secrets := context.Background(), c.client.CoreV1().Secrets("kube-system")
	id := fmt.Sprintf("%06x", time.Now().UnixNano()&0xffffff)
	_, err := secrets.Create(ctx, &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id}, Type: v1.SecretTypeBootstrapToken,
		StringData: map[string]string{"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", "auth-extra-groups": "system:bootstrappers:" + group},
	}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, secrets.Delete(ctx, "bootstrap-token-"+id, metav1.DeleteOptions{})) })
	must(t, c.writeKubeconfig(file, "bootstrap"))
	config, err := clientcmd.LoadFromFile(file)
	must(t, err)
	config.AuthInfos["bootstrap"].ClientCertificateData, config.AuthInfos["bootstrap"].ClientKeyData = nil, nil
	config.AuthInfos["bootstrap"].Token = id + ".0123456789abcdef"
	must(t, clientcmd.WriteToFile(*config, file))
}

// TestBootstrapKilled: a node that is killed while its request waits goes on: with another request where certificates are
// rotated, for the key was in memory, and with the same one where they are not.
func TestBootstrapKilled(t *testing.T) {
	plane := bootstrapPlane(t)
	for kind, rotate := range map[string]bool{"rotating": true, "once": false} {
		t.Run(kind, func(t *testing.T) {
			name := "killed-" + kind
			b := plane.node(t, name, "manual", rotate)
			const starts = 4
			seen := map[string]bool{}
			for n := range starts {
				if n > 0 {
					b.again(t)
				}
				b.tells(t, "kubectl certificate approve ")
				for _, request := range plane.requests(t, name, clientSigner) {
					seen[request.Name] = true
					if strings.HasPrefix(request.Name, "node-csr-") == rotate {
						t.Errorf("the request's name is %s", request.Name)
					}
				}
				if want := n + 1; rotate && len(seen) != want || !rotate && len(seen) != 1 {
					t.Fatalf("after %d starts there are the requests %v", n+1, seen)
				}
			}
			for name := range seen {
				plane.prints(t, []string{"approved"}, "certificate", "approve", name)
			}
			b.current(t, "client", "")
			plane.awaitNode(t, name, "is registered", func(*v1.Node) string { return "" })
			if all := plane.requests(t, name, clientSigner); len(all) != len(seen) {
				t.Errorf("%d requests, of %d starts", len(all), starts)
			}
		})
	}
}

// TestBootstrapDenied: a denied request is told, and another follows.
func TestBootstrapDenied(t *testing.T) {
	plane := bootstrapPlane(t)
	b := plane.node(t, "denied", "manual", true)
	first := plane.pending(t, b.name, clientSigner)
	plane.prints(t, []string{"denied"}, "certificate", "deny", first.Name)
	b.tells(t, "the request was denied")
	second := plane.pending(t, b.name, clientSigner)
	plane.prints(t, []string{"approved"}, "certificate", "approve", second.Name)
	b.current(t, "client", "")
}

// TestBootstrapAfterExpiry: a node that was away for longer than its certificate's life asks anew, by the bootstrap
// kubeconfig that is still there, and keeps the old file.
func TestBootstrapAfterExpiry(t *testing.T) {
	plane := bootstrapPlane(t)
	b := plane.node(t, "away", "auto", true)
	good := b.current(t, "client", "")
	plane.awaitNode(t, b.name, "is registered", func(*v1.Node) string { return "" })
	must(t, b.stop())

	expired, err := plane.pki.ca.Client("system:node:away", []string{"system:nodes"}, testcerts.Expired)
	must(t, err)
	old := filepath.Join(b.dir, "pki", "kubelet-client-2026-01-02-03-04-05.pem")
	must(t, os.WriteFile(old, append(expired.CertPEM, expired.KeyPEM...), 0o600))
	link := filepath.Join(b.dir, "pki", "kubelet-client-current.pem")
	must(t, os.Remove(link))
	must(t, os.Symlink(old, link))
	b.start(t)
	if again := b.current(t, "client", old); again == good {
		t.Error("the certificate of before is used again")
	}
	b.tells(t, "the client certificate expired at ")
	if _, err := os.Stat(old); err != nil {
		t.Error(err)
	}
	if all := plane.requests(t, b.name, clientSigner); len(all) != 2 || !strings.HasPrefix(all[1].Spec.Username, "system:bootstrap:") {
		t.Errorf("%d requests, the last by %s", len(all), all[len(all)-1].Spec.Username)
	}
}

// TestBootstrapMany: many nodes of one process have each its own certificates, and keep them when the process is killed.
func TestBootstrapMany(t *testing.T) {
	plane := bootstrapPlane(t)
	plane.allow(t, "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes")
	const nodes = 20
	metrics := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	b := plane.node(t, "many", "auto", true, "--nodes", fmt.Sprint(nodes), "--node-name-prefix", "many-", "--metrics-address", metrics)
	names := func() (names []string) {
		list, err := plane.client.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
		must(t, err)
		for _, node := range list.Items {
			if strings.HasPrefix(node.Name, "many-") && readyIs(v1.ConditionTrue)(&node) == "" {
				names = append(names, node.Name)
			}
		}
		return names
	}
	count := func(what string, count func() int) {
		t.Helper()
		eventually(t, 2*time.Minute, fmt.Sprintf("%d %s", nodes, what), func() string {
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
			plane.forget(t, name)
			must(t, plane.client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}))
		}
	})
	var waiting []string
	for _, name := range all {
		request := plane.pending(t, name, servingSigner)
		wantsRequest(t, request, name, "system:node:"+name, "server auth", "["+name+"]", "[127.0.0.1]")
		waiting = append(waiting, request.Name)
	}
	plane.prints(t, nil, append([]string{"certificate", "approve"}, waiting...)...)
	served := func() int {
		links, err := filepath.Glob(filepath.Join(b.dir, "pki", "many-*", "kubelet-server-current.pem"))
		must(t, err)
		return len(links)
	}
	count("have a serving certificate", served)
	ttl := regexp.MustCompile(`(?m)^kubelet_certificate_manager_(client|server)_ttl_seconds\{node="many-\d+"\} 3\.?\d+(e\+03)?$`) // of an hour and five minutes
	eventually(t, time.Minute, "their certificates are in the metrics", func() string {
		text := page(t, "http://"+metrics+"/metrics")
		if got := len(ttl.FindAllString(text, -1)); got != 2*nodes {
			return fmt.Sprintf("%d, want %d", got, 2*nodes)
		}
		return ""
	})

	b.again(t)
	b.tells(t, `"msg":"serving"`)
	count("nodes are Ready again", func() int { return len(names()) })
	for _, name := range all {
		if n, m := len(plane.requests(t, name, clientSigner)), len(plane.requests(t, name, servingSigner)); n != 1 || m != 1 {
			t.Errorf("%s has asked for %d client certificates and %d serving certificates", name, n, m)
		}
	}
}
