package controlplane

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/testcerts"
)

// aggregation has the objects that a metrics-server needs in the cluster, besides ScraperRole: the right to send
// reviews about its own clients, and an APIService. The Service has the type ExternalName, because no other type can
// lead kube-apiserver to a loopback address.
const aggregation = ScraperRole + `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper:system:auth-delegator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects: [{kind: ServiceAccount, namespace: default, name: scraper}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: scraper-auth-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{kind: ServiceAccount, namespace: default, name: scraper}]
---
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {type: ExternalName, externalName: localhost}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  service: {name: metrics-server, namespace: kube-system, port: PORT}
  caBundle: CA
`

// NewWithMetricsAPI is New plus an APIService for metrics.k8s.io that leads to a port on 127.0.0.1.
func NewWithMetricsAPI(t testing.TB, port int, flags ...string) *Plane {
	t.Helper()
	plane := NewStopped(t, flags)
	proxyCert, proxyKey, err := plane.PKI.Pair("front-proxy", plane.PKI.ClientPair("front-proxy"))
	expect.NoError(t, err)
	plane.Args = append(plane.Args,
		"--proxy-client-cert-file="+proxyCert, "--proxy-client-key-file="+proxyKey,
		"--requestheader-client-ca-file="+plane.PKI.CAFile, "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-")
	expect.NoError(t, plane.Start())
	ca, err := os.ReadFile(plane.PKI.CAFile)
	expect.NoError(t, err)
	plane.Apply(t, strings.NewReplacer("PORT", fmt.Sprint(port), "CA\n",
		base64.StdEncoding.EncodeToString(ca)+"\n").Replace(aggregation))
	return plane
}

// StartMetricsServer starts a metrics-server with a service account's token, and waits until kube-apiserver can reach
// the metrics-server. The metrics-server is stopped when the test ends.
func (c *Plane) StartMetricsServer(t testing.TB, token string, port int) {
	t.Helper()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	config := clientcmdapi.NewConfig()
	config.Clusters["e2e"] = &clientcmdapi.Cluster{Server: c.URL, CertificateAuthority: c.PKI.CAFile}
	config.AuthInfos["scraper"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["e2e"] = &clientcmdapi.Context{Cluster: "e2e", AuthInfo: "scraper"}
	config.CurrentContext = "e2e"
	expect.NoError(t, clientcmd.WriteToFile(*config, kubeconfig))
	certFile, keyFile, err := c.PKI.Pair("metrics-server", func() (*testcerts.Pair, error) {
		return c.PKI.CA.Server("metrics-server", []string{"metrics-server.kube-system.svc", "127.0.0.1"})
	})
	expect.NoError(t, err)
	p, err := programs.Start("metrics-server", programs.Path(t, "metrics-server"),
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--tls-cert-file="+certFile,
		"--tls-private-key-file="+keyFile,
		"--kubelet-certificate-authority="+c.PKI.CAFile, "--kubelet-use-node-status-port",
		"--kubelet-preferred-address-types=InternalIP",
		"--metric-resolution=10s", "--kubelet-request-timeout=5s")
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		p.LogOnFailure(t, 0)
	})
	expect.Eventually(t, time.Minute, "kube-apiserver reaches metrics-server", func() string {
		got := c.Kubectl(t, "get", "apiservice", "v1beta1.metrics.k8s.io", "-o",
			`jsonpath={.status.conditions[?(@.type=="Available")]}`)
		if got.Status != 0 || !strings.Contains(got.Stdout, `"status":"True"`) {
			return got.Stdout + got.Stderr
		}
		return ""
	})
}

// ScraperRole allows the service account default/scraper and the user scraper to read the metrics and statistics of
// nodes.
const ScraperRole = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraping}
rules:
- {apiGroups: [""], resources: [nodes/metrics, nodes/stats], verbs: [get]}
- {apiGroups: [""], resources: [nodes, pods, namespaces], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraping}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraping}
subjects:
- {kind: ServiceAccount, namespace: default, name: scraper}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: scraper}
`
