package node

import (
	"net"
	"path/filepath"
	"testing"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// startHollow starts the program "hollow", a kubelet without real containers, as a node with its own client
// certificate. The program is stopped when the test ends.
func startHollow(t testing.TB, c *controlplane.Plane, name string, args ...string) *programs.Process {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	expect.NoError(t, c.WriteKubeconfig(kubeconfig, "system:node:"+name, "system:nodes"))
	p, err := programs.Start("hollow", programs.Path(t, "hollow"), append([]string{
		"--name", name, "--kubeconfig", kubeconfig, "--root-dir", t.TempDir(), "--port", "0", "-v=2"}, args...)...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		p.LogOnFailure(t, 0)
	})
	return p
}

// hostAddress returns an address of this machine that is not loopback. A kubelet does not accept a loopback address
// for its node.
func hostAddress(t testing.TB) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	expect.NoError(t, err)
	for _, address := range all {
		if ip, ok := address.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	t.Fatal("this machine has no IPv4 address except loopback, which a kubelet refuses for its node: ip link add " +
		"dummy0 type dummy; ip addr add 192.0.2.1/32 dev dummy0")
	return ""
}
