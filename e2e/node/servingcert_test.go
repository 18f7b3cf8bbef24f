package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	compbasemetrics "k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletcertificate "k8s.io/kubernetes/pkg/kubelet/certificate"
	"k8s.io/kubernetes/pkg/kubelet/certificate/bootstrap"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	nodeidentity "fauxlet/internal/bootstrap"
	"fauxlet/testcerts"
)

// nodeClient returns a Kubernetes client that authenticates with a node's own certificate.
func nodeClient(t testing.TB, c *controlplane.Plane, node string) *kubernetes.Clientset {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	expect.NoError(t, c.WriteKubeconfig(file, "system:node:"+node, "system:nodes"))
	config, err := clientcmd.BuildConfigFromFlags("", file)
	expect.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	expect.NoError(t, err)
	return client
}

// forget deletes all certificate requests of a node.
func forget(t testing.TB, c *controlplane.Plane, node string) {
	for _, signer := range []string{controlplane.ClientSigner, controlplane.ServingSigner} {
		for _, request := range c.CertificateRequests(t, node, signer) {
			expect.NoError(t, c.Client.CertificatesV1().CertificateSigningRequests().Delete(context.Background(),
				request.Name,
				metav1.DeleteOptions{}))
		}
	}
}

// approve approves a request and waits until its certificate is issued.
func approve(t testing.TB, c *controlplane.Plane, name string) {
	t.Helper()
	c.KubectlPrints(t, []string{"approved"}, "certificate", "approve", name)
	expect.Eventually(t, time.Minute, name+" is issued", func() string {
		request, err := c.Client.CertificatesV1().CertificateSigningRequests().Get(context.Background(), name,
			metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if len(request.Status.Certificate) == 0 {
			return fmt.Sprint(request.Status.Conditions)
		}
		return ""
	})
}

// TestServingCertificateFollowsAddresses gives a node another address. The node must request a new serving
// certificate, and use the old one until the request is approved. After a denial, the node must send another
// request.
func TestServingCertificateFollowsAddresses(t *testing.T) {
	t.Parallel()
	plane := bootstrapPlane(t)
	const node = "moving"
	t.Cleanup(func() { forget(t, plane, node) })
	var addresses atomic.Pointer[[]v1.NodeAddress]
	at := func(ip string) {
		addresses.Store(&[]v1.NodeAddress{{Type: v1.NodeInternalIP, Address: ip},
			{Type: v1.NodeHostName, Address: node}})
	}
	at("127.0.0.1")
	serving, err := nodeidentity.NewServing(nodeidentity.ServingOptions{
		NodeName: node, CertDir: t.TempDir(), Client: nodeClient(t, plane, node),
		Addresses: func() []v1.NodeAddress { return *addresses.Load() },
	})
	expect.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); serving.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	serves := func(ip string) {
		t.Helper()
		expect.Eventually(t, time.Minute, "the serving certificate is valid for "+ip, func() string {
			current := serving.Current()
			if current == nil {
				return "nothing"
			}
			if err := current.Leaf.VerifyHostname(ip); err != nil {
				return err.Error()
			}
			return ""
		})
	}

	denied := plane.PendingRequest(t, node, controlplane.ServingSigner)
	plane.KubectlPrints(t, []string{"denied"}, "certificate", "deny", denied.Name)
	approve(t, plane, plane.PendingRequest(t, node, controlplane.ServingSigner).Name)
	serves("127.0.0.1")
	at("127.0.0.2")
	moved := plane.PendingRequest(t, node, controlplane.ServingSigner)
	wantsRequest(t, moved, node, "system:node:"+node, "server auth", "[moving]", "[127.0.0.2]")
	serves("127.0.0.1")
	approve(t, plane, moved.Name)
	serves("127.0.0.2")
}

// TestNodeFollowsRotatedCA replaces the CA of the signer. The node must obtain certificates from the new CA and
// still run its pods.
func TestNodeFollowsRotatedCA(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	next, err := testcerts.NewAuthority("kubernetes-next")
	expect.NoError(t, err)
	expect.NoError(t, next.Write(filepath.Join(p.Dir, "next.crt"), filepath.Join(p.Dir, "next.key")))
	expect.NoError(t, os.WriteFile(filepath.Join(p.Dir, "both.crt"),
		append(slices.Clone(p.CA.CertPEM()), next.CertPEM()...), 0o644))
	plane := controlplane.New(t, slices.Concat(bootstrapping,
		[]string{"--client-ca-file=both.crt", "--kubelet-certificate-authority=both.crt"}))
	// A node rotates a certificate after 70 to 90 % of its lifetime. Here a lifetime is six minutes, and begins five
	// minutes before the certificate is issued. Therefore the node rotates a certificate at most 24 seconds after its
	// issue.
	const life = time.Minute
	signer := plane.StartControllerManager(t, controlplane.CertificateControllers, life)
	for group, role := range map[string]string{"system:bootstrappers": "nodeclient", "system:nodes": "selfnodeclient"} {
		plane.BindGroup(t, "system:certificates.k8s.io:certificatesigningrequests:"+role, group)
	}
	plane.BindGroup(t, "system:node-bootstrapper", "system:bootstrappers")
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))

	b := startBootstrapNode(t, plane, "lasting", "auto", true)
	n := &joined{name: b.name, plane: plane}
	// The function below approves the pending request for a serving certificate, and waits until the given issuer has
	// issued both certificates of the node. Then the command "kubectl logs" and a new pod must work.
	uses := func(issuer string) {
		t.Helper()
		approve(t, plane, plane.PendingRequest(t, b.name, controlplane.ServingSigner).Name)
		for _, kind := range []string{"client", "server"} {
			expect.Eventually(t, 2*time.Minute, "the "+kind+" certificate is of "+issuer, func() string {
				if got := controlplane.ReadCertificate(t, b.current(t, kind, "")).Issuer.CommonName; got != issuer {
					return "it is of " + got
				}
				return ""
			})
		}
		expect.Eventually(t, time.Minute, "kubectl logs",
			func() string { return plane.Kubectl(t, "logs", "stays", "--tail=1").Stderr })
		n.works(t, "by-"+issuer)
	}
	plane.CreatePod(t, controlplane.BoundTo(b.name, "stays"))
	before := plane.AwaitPod(t, "stays", "runs", controlplane.PhaseIs(v1.PodRunning))
	uses("kubernetes")
	expect.NoError(t, signer.Stop())
	plane.StartControllerManager(t, controlplane.CertificateControllers, life,
		"--cluster-signing-cert-file="+filepath.Join(p.Dir, "next.crt"),
		"--cluster-signing-key-file="+filepath.Join(p.Dir, "next.key"))
	uses("kubernetes-next")
	plane.RunsStill(t, before)
}

// TestSigningDuration proves statement 16 of docs/claims.md: kube-controller-manager no longer has the flag
// --experimental-cluster-signing-duration. TestBootstrap uses the flag that replaced it, --cluster-signing-duration.
func TestSigningDuration(t *testing.T) {
	t.Parallel()
	p, err := programs.Start("kube-controller-manager", programs.Path(t, "kube-controller-manager"),
		"--experimental-cluster-signing-duration=8760h")
	expect.NoError(t, err)
	<-p.Ended
	expect.Contains(t, "kube-controller-manager", p.Out.String(),
		"unknown flag: --experimental-cluster-signing-duration")
}

// identityFacts describes how a node obtained its certificates: the certificate requests, files, kubeconfig and
// metrics.
type identityFacts struct {
	Requests   []string
	Files      []string
	Kubeconfig string
}

var digits = regexp.MustCompile(`\d{4}(-\d\d){5}`)

// factsOf returns the identityFacts of a node, with random parts removed.
func factsOf(t testing.TB, c *controlplane.Plane, node, signer, dir string) identityFacts {
	t.Helper()
	var f identityFacts
	for _, request := range c.CertificateRequests(t, node, signer) {
		asked := controlplane.ParseRequest(t, request)
		name := regexp.MustCompile(`^csr-\w{5}$`).ReplaceAllString(request.Name, "csr-NAME")
		f.Requests = append(f.Requests, fmt.Sprintf("%s %s %v %v %s %v %v %v %v %T", name, request.Spec.SignerName,
			request.Spec.Usages,
			request.Spec.ExpirationSeconds, asked.Subject, asked.DNSNames, asked.IPAddresses, asked.Extensions,
			asked.SignatureAlgorithm, asked.PublicKey))
	}
	entries, err := os.ReadDir(filepath.Join(dir, "pki"))
	expect.NoError(t, err)
	for _, entry := range entries {
		info, err := entry.Info()
		expect.NoError(t, err)
		target, _ := os.Readlink(filepath.Join(dir, "pki", entry.Name()))
		text := fmt.Sprintf("%s %s -> %s", info.Mode(), entry.Name(), strings.TrimPrefix(target, dir))
		if target == "" {
			blocks := regexp.MustCompile("-----BEGIN ([A-Z ]+)").FindAllStringSubmatch(expect.File(t,
				filepath.Join(dir, "pki", entry.Name())), -1)
			text += fmt.Sprint(blocks)
		}
		f.Files = append(f.Files, digits.ReplaceAllString(text, "TIME"))
	}
	if kubeconfig, err := os.ReadFile(filepath.Join(dir, "kubelet.conf")); err == nil {
		f.Kubeconfig = strings.ReplaceAll(string(kubeconfig), dir, "DIR")
	}
	return f
}

// TestCertificateRequestsMatchKubelet lets the kubelet's own code and fauxlet obtain the same certificates, one
// program after the other. The test compares the certificate requests, the files, the kubeconfig and the metrics.
func TestCertificateRequestsMatchKubelet(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	plane := bootstrapPlane(t)
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	const node = "alike"
	addresses := func() []v1.NodeAddress {
		return []v1.NodeAddress{
			{Type: v1.NodeHostName, Address: "alike"}, {Type: v1.NodeHostName, Address: "192.0.2.10"},
			{Type: v1.NodeInternalIP, Address: "192.0.2.9"},
			{Type: v1.NodeExternalIP, Address: "2001:db8::1"}, {Type: v1.NodeInternalIP, Address: "010.1.2.3"},
			{Type: v1.NodeInternalIP, Address: "nonsense"},
			{Type: v1.NodeInternalDNS, Address: "a.internal"}, {Type: v1.NodeExternalDNS, Address: "192.0.2.77"},
			{Type: v1.NodeExternalDNS, Address: ""},
			{Type: "Other", Address: "192.0.2.78"}, {Type: v1.NodeHostName, Address: "alike"},
		}
	}
	// Both programs use the same private key, because the name of the request contains a digest of the key.
	pair, err := plane.PKI.CA.Client("shared key", nil)
	expect.NoError(t, err)
	sameKey := func(dir string) {
		expect.NoError(t, os.Mkdir(filepath.Join(dir, "pki"), 0o755))
		expect.NoError(t, os.WriteFile(filepath.Join(dir, "pki", "kubelet-client.key.tmp"), pair.KeyPEM, 0o600))
	}
	ours := func(rotate bool) func(string) error {
		return func(dir string) error {
			connection, err := nodeidentity.Connect(ctx,
				nodeidentity.Options{NodeName: node, Kubeconfig: filepath.Join(dir, "kubelet.conf"),
					BootstrapKubeconfig: filepath.Join(dir, "bootstrap.conf"), CertDir: filepath.Join(dir, "pki"),
					Rotate: rotate})
			if err != nil {
				return err
			}
			return connection.Await(ctx) // with rotation, only Await waits for the first certificate
		}
	}
	var serving *nodeidentity.Serving
	for _, test := range []struct {
		name, signer   string
		prepare        func(dir string)
		theirs, itself func(dir string) error
	}{
		{"client, once", controlplane.ClientSigner, sameKey, func(dir string) error {
			return bootstrap.LoadClientCert(ctx, filepath.Join(dir, "kubelet.conf"),
				filepath.Join(dir, "bootstrap.conf"),
				filepath.Join(dir, "pki"), node)
		}, ours(false)},
		{"client, rotating", controlplane.ClientSigner, func(string) {}, func(dir string) error {
			pki := filepath.Join(dir, "pki")
			asking, config, err := bootstrap.LoadClientConfig(klog.Background(), filepath.Join(dir, "kubelet.conf"),
				filepath.Join(dir, "bootstrap.conf"), pki)
			if err != nil {
				return err
			}
			manager, err := kubeletcertificate.NewKubeletClientCertificateManager(pki, node, config.CertData,
				config.KeyData,
				config.CertFile, config.KeyFile,
				func(current *tls.Certificate) (kubernetes.Interface, error) {
					if current != nil {
						return kubernetes.NewForConfig(rest.CopyConfig(config))
					}
					return kubernetes.NewForConfig(asking)
				})
			if err != nil {
				return err
			}
			manager.Start()
			return wait(ctx, func() bool { return manager.Current() != nil })
		}, ours(true)},
		{"serving", controlplane.ServingSigner, func(string) {}, func(dir string) error {
			manager, err := kubeletcertificate.NewKubeletServerCertificateManager(nodeClient(t, plane, node),
				&kubeletconfig.KubeletConfiguration{}, types.NodeName(node), addresses, filepath.Join(dir, "pki"))
			if err != nil {
				return err
			}
			manager.Start()
			return wait(ctx, func() bool { return manager.Current() != nil })
		}, func(dir string) error {
			var err error
			serving, err = nodeidentity.NewServing(nodeidentity.ServingOptions{NodeName: node,
				CertDir: filepath.Join(dir, "pki"), Client: nodeClient(t, plane, node), Addresses: addresses})
			if err != nil {
				return err
			}
			go serving.Run(ctx)
			return wait(ctx, func() bool { return serving.Current() != nil })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all [2]identityFacts
			for i, get := range []func(string) error{test.theirs, test.itself} {
				dir := t.TempDir()
				bootstrapToken(t, plane, filepath.Join(dir, "bootstrap.conf"), "manual")
				test.prepare(dir)
				got := make(chan error, 1)
				go func() { got <- get(dir) }()
				approve(t, plane, plane.PendingRequest(t, node, test.signer).Name)
				expect.NoError(t, <-got)
				all[i] = factsOf(t, plane, node, test.signer, dir)
				forget(t, plane, node)
			}
			if len(all[0].Requests) != 1 || len(all[0].Files) != 2 ||
				(all[0].Kubeconfig == "") != (test.name == "serving") {
				t.Fatalf("the kubelet's facts: %+v", all[0])
			}
			if difference := cmp.Diff(all[0], all[1]); difference != "" {
				t.Errorf("the kubelet has (-), fauxlet has (+):\n%s", difference)
			}
		})
	}

	registry := compbasemetrics.NewKubeRegistry()
	registry.RawMustRegister(serving.Metrics()...)
	theirs, own := described(t, legacyregistry.DefaultGatherer), described(t, registry)
	for name, text := range own {
		if theirs[name] != text {
			t.Errorf("metric of fauxlet %s\nmetric of the kubelet %s", text, theirs[name])
		}
	}
	if len(own) != 3 {
		t.Errorf("metrics: %v", own)
	}
}

// The function "described" returns a description of each metric, without the value.
func described(t testing.TB, gatherer compbasemetrics.Gatherer) map[string]string {
	t.Helper()
	families, err := gatherer.Gather()
	expect.NoError(t, err)
	all := map[string]string{}
	for _, family := range families {
		var buckets []float64
		for _, bucket := range family.Metric[0].GetHistogram().GetBucket() {
			buckets = append(buckets, bucket.GetUpperBound())
		}
		all[family.GetName()] = fmt.Sprint(family.GetName(), family.GetType(), family.GetHelp(), buckets)
	}
	return all
}

// wait waits until a condition holds.
func wait(ctx context.Context, so func() bool) error {
	if problem := expect.Within(time.Minute, func() string {
		if !so() && ctx.Err() == nil {
			return "not yet"
		}
		return ""
	}); problem != "" {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}
