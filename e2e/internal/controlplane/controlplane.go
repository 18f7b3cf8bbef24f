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

// Plane is a kube-apiserver with its own part of the one etcd.
type Plane struct {
	PKI        *PKI
	URL        string
	Kubeconfig string // of an admin
	Client     *kubernetes.Clientset
	path       string
	Args       []string
	APIServer  *programs.Process
}

// Sets of kubelet flags that several tests run a kube-apiserver with. Without flags it presents no client certificate and
// accepts any serving certificate.
var (
	NoKubeletFlags               = []string{}
	WithClientCertificate        = []string{"--kubelet-client-certificate=kubelet-client.crt", "--kubelet-client-key=kubelet-client.key"}
	VerifyingServingCertificates = append([]string{"--kubelet-certificate-authority=ca.crt"}, WithClientCertificate...)
)

// shared are the control planes that tests share, by their flags.
var shared struct {
	sync.Mutex
	byFlags map[string]*Plane
}

// Shared returns the control plane with a set of kube-apiserver flags, and starts it for the first caller. Names of
// certificates and keys in flags are files of the PKI. A test deletes the objects that it creates there, and gives them
// names of its own.
func Shared(t testing.TB, flags []string) *Plane {
	t.Helper()
	plane := started(t, flags)
	from := len(plane.APIServer.Out.String())
	t.Cleanup(func() { plane.APIServer.LogOnFailure(t, from) })
	return plane
}

func started(t testing.TB, flags []string) *Plane {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	key := strings.Join(flags, " ")
	plane := shared.byFlags[key]
	if plane == nil {
		plane = New(t, flags)
		if shared.byFlags == nil {
			shared.byFlags = map[string]*Plane{}
		}
		shared.byFlags[key] = plane
	}
	return plane
}

// New starts a control plane that no other test uses.
func New(t testing.TB, flags []string) *Plane {
	t.Helper()
	plane, err := Prepare(t, flags)
	if err == nil {
		err = plane.Start()
	}
	if err != nil {
		t.Fatalf("control plane %v: %v", flags, err)
	}
	return plane
}

func Prepare(t testing.TB, flags []string) (*Plane, error) {
	p, err := Certificates()
	if err != nil {
		return nil, err
	}
	etcd, err := etcdURL(t)
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
		URL:        fmt.Sprintf("https://127.0.0.1:%d", port),
		Kubeconfig: filepath.Join(dir, "admin.kubeconfig"),
		path:       programs.Path(t, "kube-apiserver"),
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
		"--etcd-servers=" + etcd, "--etcd-prefix=/" + filepath.Base(dir),
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir=" + dir,
		"--tls-cert-file=" + cert, "--tls-private-key-file=" + key, "--client-ca-file=" + p.CAFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + cert, "--service-account-signing-key-file=" + key,
		"--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=Node,RBAC",
		// On loopback it cannot be an endpoint, and nobody makes service accounts here.
		"--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount",
	}
	for _, flag := range flags {
		if name, file, _ := strings.Cut(flag, "="); slices.Contains([]string{".crt", ".key", ".csv"}, filepath.Ext(file)) {
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

// Start starts the apiserver, for the first time or again.
func (c *Plane) Start() error {
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

// WriteKubeconfig writes one for a client certificate.
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

// ForNodes are the flags of a control plane that nodes join by themselves: they may touch only what is theirs, and are
// dialled at their addresses, for nobody knows their names.
var ForNodes = append([]string{"--enable-admission-plugins=NodeRestriction", "--kubelet-preferred-address-types=InternalIP"}, VerifyingServingCertificates...)
