// Package controlplane runs the control planes of the end-to-end tests: a real etcd, kube-apiserver and, where a test
// needs them, kube-controller-manager and metrics-server. It also has the operations that tests need: create objects,
// bind roles, run kubectl, and wait for the result.
//
// Begin with Shared, which lends a control plane to one test at a time. Tests that stop or restart their control plane
// call New instead.
package controlplane

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

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/testcerts"
)

// Plane is a kube-apiserver with its etcd, and a client and a kubeconfig of its administrator.
type Plane struct {
	PKI        *PKI
	Etcd       *Etcd
	URL        string
	Kubeconfig string // file of the administrator's kubeconfig
	Client     *kubernetes.Clientset
	Args       []string // arguments with which Start runs kube-apiserver
	APIServer  *programs.Process

	path string // file of the kube-apiserver program
}

// These sets of flags configure how kube-apiserver connects to kubelets. Without any of these flags, kube-apiserver
// presents no client certificate and accepts any serving certificate.
var (
	NoKubeletFlags        = []string{}
	WithClientCertificate = []string{"--kubelet-client-certificate=kubelet-client.crt",
		"--kubelet-client-key=kubelet-client.key"}
	VerifyingServingCertificates = append([]string{"--kubelet-certificate-authority=ca.crt"}, WithClientCertificate...)

	// ForNodes is for nodes that register themselves. Each node may change only its own objects. kube-apiserver
	// dials the addresses of the nodes, because no DNS server resolves their names.
	ForNodes = append([]string{"--enable-admission-plugins=NodeRestriction",
		"--kubelet-preferred-address-types=InternalIP"},
		VerifyingServingCertificates...)
)

// The channel "own" limits how many unshared control planes (from New, NewWithEtcd or NewStopped) run at the same time
// in one test binary. Even an idle kube-apiserver uses a few percent of a processor core.
var own = make(chan struct{}, 3)

// New starts a control plane that no other test uses. The control plane is stopped when the test ends.
func New(t testing.TB, flags []string) *Plane {
	t.Helper()
	plane := NewStopped(t, flags)
	expect.NoError(t, plane.Start())
	return plane
}

// NewWithEtcd is like New, but the control plane has its own etcd, so that a test can restart etcd.
func NewWithEtcd(t testing.TB, flags []string) *Plane {
	t.Helper()
	etcd, err := newEtcd(t)
	expect.NoError(t, err)
	t.Cleanup(func() { expect.NoError(t, etcd.process.Stop()) })
	plane := newStopped(t, flags, etcd)
	expect.NoError(t, plane.Start())
	return plane
}

// NewStopped returns a control plane that no other test uses and that is not started. Tests can change its arguments
// and then call Start. The control plane is stopped when the test ends.
func NewStopped(t testing.TB, flags []string) *Plane {
	t.Helper()
	etcd, err := theEtcd(t)
	expect.NoError(t, err)
	return newStopped(t, flags, etcd)
}

func newStopped(t testing.TB, flags []string, etcd *Etcd) *Plane {
	t.Helper()
	own <- struct{}{}
	t.Cleanup(func() { <-own })
	plane, err := prepare(t, flags, etcd)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if plane.APIServer == nil {
			return
		}
		plane.APIServer.LogOnFailure(t, 0)
		if err := plane.APIServer.Stop(); err != nil {
			t.Error(err)
		}
	})
	return plane
}

// Prepare returns a control plane that is not started. The caller must start the control plane. The function
// programs.Main stops it after the last test.
func Prepare(t testing.TB, flags []string) (*Plane, error) {
	etcd, err := theEtcd(t)
	if err != nil {
		return nil, err
	}
	return prepare(t, flags, etcd)
}

func prepare(t testing.TB, flags []string, etcd *Etcd) (*Plane, error) {
	p, err := Certificates()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(programs.Scratch, "apiserver-")
	if err != nil {
		return nil, err
	}
	port := programs.FreePort(t)
	plane := &Plane{
		PKI:        p,
		Etcd:       etcd,
		URL:        fmt.Sprintf("https://127.0.0.1:%d", port),
		Kubeconfig: filepath.Join(dir, "admin.kubeconfig"),
		path:       programs.Path(t, programs.APIServer()),
	}
	cert, key, err := p.Pair("apiserver", func() (*testcerts.Pair, error) {
		return p.CA.Server("kube-apiserver", []string{"127.0.0.1", "localhost", "kubernetes.default.svc"})
	})
	if err != nil {
		return nil, err
	}
	if _, _, err := p.Pair("kubelet-client", p.ClientPair("kubelet-client")); err != nil {
		return nil, err
	}
	plane.Args = []string{
		"--etcd-servers=" + etcd.url, "--etcd-prefix=/" + filepath.Base(dir),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + dir,
		"--tls-cert-file=" + cert, "--tls-private-key-file=" + key, "--client-ca-file=" + p.CAFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + cert, "--service-account-signing-key-file=" + key,
		"--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC",
		// kube-apiserver must not write its own address to the endpoints of the Service kubernetes, because loopback
		// addresses are not allowed there. The admission plugin ServiceAccount is off, because it refuses pods whose
		// service account does not exist, and no controller creates service accounts.
		"--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount",
	}
	for _, flag := range flags {
		if name, file, _ := strings.Cut(flag, "="); slices.Contains([]string{".crt", ".key", ".csv"},
			filepath.Ext(file)) {
			flag = name + "=" + filepath.Join(p.Dir, file)
		}
		plane.Args = append(plane.Args, flag)
	}
	if err := plane.WriteKubeconfig(plane.Kubeconfig, "admin", "system:masters"); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	plane.Client, err = kubernetes.NewForConfig(config)
	return plane, err
}

// starting is locked while a kube-apiserver starts, so that only one starts at a time. A start keeps a processor core
// busy for some seconds, and other tests with time limits run during that time.
var starting sync.Mutex

// Start starts kube-apiserver with Args and waits until it is ready. After Process.Stop, Start can be called again.
func (c *Plane) Start() error {
	starting.Lock()
	defer starting.Unlock()
	began := time.Now()
	var err error
	if c.APIServer, err = programs.Start("kube-apiserver", c.path, c.Args...); err != nil {
		return err
	}
	programs.StopAtExit(c.APIServer)
	problem := expect.Within(2*time.Minute, func() string {
		select {
		case <-c.APIServer.Ended:
			return ""
		default:
		}
		var status int
		c.Client.RESTClient().Get().AbsPath("/readyz").Do(context.Background()).StatusCode(&status)
		if status != http.StatusOK {
			return fmt.Sprintf("/readyz: status %d", status)
		}
		return ""
	})
	select {
	case <-c.APIServer.Ended:
		problem = fmt.Sprintf("it has ended: %v", c.APIServer.Err)
	default:
	}
	if problem != "" {
		return fmt.Errorf("kube-apiserver is not ready: %s\n%s", problem, c.APIServer.Out.String())
	}
	programs.Progress("kube-apiserver is ready after %v", time.Since(began).Round(100*time.Millisecond))
	return nil
}

// WriteKubeconfig writes a kubeconfig with a new client certificate for a user.
func (c *Plane) WriteKubeconfig(path, user string, groups ...string) error {
	pair, err := c.PKI.CA.Client(user, groups)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["e2e"] = &clientcmdapi.Cluster{Server: c.URL, CertificateAuthority: c.PKI.CAFile}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.CertPEM, ClientKeyData: pair.KeyPEM}
	config.Contexts["e2e"] = &clientcmdapi.Context{Cluster: "e2e", AuthInfo: user}
	config.CurrentContext = "e2e"
	return clientcmd.WriteToFile(*config, path)
}
