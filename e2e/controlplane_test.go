package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/testcerts"
)

// pki is the one that all control planes and kubelets share: the cluster's CA vouches for everybody, strangerCA is the
// CA that nobody knows.
type pki struct {
	dir            string
	ca, strangerCA *testcerts.Authority
	caFile         string

	mu sync.Mutex // of its files
}

var certificates = sync.OnceValues(func() (*pki, error) {
	p := &pki{dir: filepath.Join(scratch, "pki")}
	p.caFile = filepath.Join(p.dir, "ca.crt")
	var err error
	if p.ca, err = testcerts.NewAuthority("kubernetes"); err != nil {
		return nil, err
	}
	if p.strangerCA, err = testcerts.NewAuthority("stranger"); err != nil {
		return nil, err
	}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.caFile, p.ca.CertPEM(), 0o644)
})

// pair mints a pair and writes it where it can be named on a command line.
func (p *pki) pair(name string, mint func() (*testcerts.Pair, error)) (certFile, keyFile string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	certFile, keyFile = filepath.Join(p.dir, name+".crt"), filepath.Join(p.dir, name+".key")
	if _, err := os.Stat(certFile); err == nil {
		return certFile, keyFile, nil
	}
	pair, err := mint()
	if err != nil {
		return "", "", err
	}
	return certFile, keyFile, pair.Write(certFile, keyFile)
}

func (p *pki) client(name string, organizations ...string) func() (*testcerts.Pair, error) {
	return func() (*testcerts.Pair, error) { return p.ca.Client(name, organizations) }
}

// controlPlane is a kube-apiserver with its own part of the one etcd.
type controlPlane struct {
	pki        *pki
	url        string
	kubeconfig string // of an admin
	client     *kubernetes.Clientset
	path       string
	args       []string
	apiserver  *process
}

// The sets of kubelet flags that tests run with. certified has a certificate for the kubelets, and verifying wants one of them.
var (
	bare      = []string{}
	certified = []string{"--kubelet-client-certificate=kubelet-client.crt", "--kubelet-client-key=kubelet-client.key"}
	verifying = append([]string{"--kubelet-certificate-authority=ca.crt"}, certified...)
)

var (
	planes = map[string]*controlPlane{}
	etcdMu sync.Mutex
	etcd   string // its URL
	// etcdCommand is how it is started, etcdProcess what was.
	etcdCommand []string
	etcdProcess *process
)

// withFlags is the control plane of a set of flags. Certificates and keys in them are of the PKI. It is shared: a test removes
// what it has put there.
func withFlags(t testing.TB, flags []string) *controlPlane {
	t.Helper()
	key := strings.Join(flags, " ")
	plane := planes[key]
	if plane == nil {
		plane = newControlPlane(t, flags)
		planes[key] = plane
	}
	from := len(plane.apiserver.out.String())
	t.Cleanup(func() { plane.apiserver.tell(t, from) })
	return plane
}

// newControlPlane starts one that is nobody else's.
func newControlPlane(t testing.TB, flags []string) *controlPlane {
	t.Helper()
	plane, err := makeControlPlane(t, flags)
	if err == nil {
		err = plane.start()
	}
	if err != nil {
		t.Fatalf("control plane %v: %v", flags, err)
	}
	return plane
}

func makeControlPlane(t testing.TB, flags []string) (*controlPlane, error) {
	p, err := certificates()
	if err != nil {
		return nil, err
	}
	if err := needEtcd(t); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(scratch, "apiserver-")
	if err != nil {
		return nil, err
	}
	port := freePort(t)
	plane := &controlPlane{
		pki:        p,
		url:        fmt.Sprintf("https://127.0.0.1:%d", port),
		kubeconfig: filepath.Join(dir, "admin.kubeconfig"),
		path:       binary(t, "kube-apiserver"),
	}
	cert, key, err := p.pair("apiserver", func() (*testcerts.Pair, error) {
		return p.ca.Server("kube-apiserver", []string{"127.0.0.1", "localhost", "kubernetes.default.svc"})
	})
	if err != nil {
		return nil, err
	}
	if _, _, err := p.pair("kubelet-client", p.client("kubelet-client")); err != nil {
		return nil, err
	}
	plane.args = []string{
		"--etcd-servers=" + etcd, "--etcd-prefix=/" + filepath.Base(dir),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + dir,
		"--tls-cert-file=" + cert, "--tls-private-key-file=" + key, "--client-ca-file=" + p.caFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + cert, "--service-account-signing-key-file=" + key,
		"--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC",
		// On loopback it cannot be an endpoint, and nobody makes service accounts here.
		"--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount",
	}
	for _, flag := range flags {
		if name, file, _ := strings.Cut(flag, "="); slices.Contains([]string{".crt", ".key", ".csv"}, filepath.Ext(file)) {
			flag = name + "=" + filepath.Join(p.dir, file)
		}
		plane.args = append(plane.args, flag)
	}
	if err := plane.writeKubeconfig(plane.kubeconfig, "admin", "system:masters"); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", plane.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	plane.client, err = kubernetes.NewForConfig(config)
	return plane, err
}

// start starts the apiserver, for the first time or again.
func (c *controlPlane) start() error {
	began := time.Now()
	var err error
	if c.apiserver, err = start("kube-apiserver", c.path, c.args...); err != nil {
		return err
	}
	outlives(c.apiserver)
	problem := within(2*time.Minute, func() string {
		select {
		case <-c.apiserver.ended:
			return ""
		default:
		}
		var status int
		c.client.RESTClient().Get().AbsPath("/readyz").Do(context.Background()).StatusCode(&status)
		if status != http.StatusOK {
			return fmt.Sprintf("/readyz: status %d", status)
		}
		return ""
	})
	select {
	case <-c.apiserver.ended:
		problem = fmt.Sprintf("it has ended: %v", c.apiserver.err)
	default:
	}
	if problem != "" {
		return fmt.Errorf("kube-apiserver is not ready: %s\n%s", problem, c.apiserver.out.String())
	}
	progress("kube-apiserver is ready after %v", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// writeKubeconfig writes one for a client certificate.
func (c *controlPlane) writeKubeconfig(path, user string, groups ...string) error {
	pair, err := c.pki.ca.Client(user, groups)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["e2e"] = &clientcmdapi.Cluster{Server: c.url, CertificateAuthority: c.pki.caFile}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.CertPEM, ClientKeyData: pair.KeyPEM}
	config.Contexts["e2e"] = &clientcmdapi.Context{Cluster: "e2e", AuthInfo: user}
	config.CurrentContext = "e2e"
	return clientcmd.WriteToFile(*config, path)
}

// needEtcd starts the one etcd of this run, if it is not there yet.
func needEtcd(t testing.TB) error {
	etcdMu.Lock()
	defer etcdMu.Unlock()
	if etcd != "" {
		return nil
	}
	var err error
	etcd, err = startEtcd(t)
	return err
}

// startEtcd starts it.
func startEtcd(t testing.TB) (string, error) {
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	etcdCommand = []string{binary(t, "etcd"), "--data-dir=" + filepath.Join(scratch, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer}
	return client, runEtcd(client)
}

// runEtcd starts it, for the first time or again.
func runEtcd(client string) error {
	p, err := start("etcd", etcdCommand[0], etcdCommand[1:]...)
	if err != nil {
		return err
	}
	etcdProcess = p
	if problem := within(time.Minute, func() string {
		answer, err := http.Get(client + "/health")
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return answer.Status
		}
		return ""
	}); problem != "" {
		return fmt.Errorf("etcd is not ready: %s\n%s", problem, p.out.String())
	}
	return nil
}
