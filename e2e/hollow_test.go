package e2e

import (
	"net"
	"path/filepath"
	"testing"
)

// hollow starts a kubelet of Kubernetes' own code as a node, over containers that are not there (package hollow), with its
// own credential. It is stopped with the test.
func (c *controlPlane) hollow(t testing.TB, name string, args ...string) *process {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, c.writeKubeconfig(kubeconfig, "system:node:"+name, "system:nodes"))
	p, err := start("hollow", binary(t, "hollow"), append([]string{
		"--name", name, "--kubeconfig", kubeconfig, "--root-dir", t.TempDir(), "--port", "0", "-v=2"}, args...)...)
	must(t, err)
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		p.tell(t, 0)
	})
	return p
}

// hostAddress is an address of this machine that a kubelet takes for its node, which one of loopback is not.
func hostAddress(t testing.TB) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	must(t, err)
	for _, address := range all {
		if ip, ok := address.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	t.Fatal("this machine has no IPv4 address but loopback, and a kubelet wants one for its node: ip link add dummy0 type dummy; ip addr add 192.0.2.1/32 dev dummy0")
	return ""
}
