package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// TestNodeFollowsItsDNSName changes the address to which a node's host name resolves. The node must report the new
// address and request a serving certificate for it.
func TestNodeFollowsItsDNSName(t *testing.T) {
	t.Parallel()
	plane := bootstrapPlane(t)
	const name = "moving"
	root := t.TempDir() // the node process has its own root folder with an /etc/hosts
	expect.NoError(t, os.Link(programs.Path(t, "fauxlet"), filepath.Join(root, "fauxlet")))
	for _, dir := range []string{"etc", "pki"} {
		expect.NoError(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	expect.NoError(t, os.Chown(filepath.Join(root, "pki"), 65532, 65532))
	hosts := filepath.Join(root, "etc/hosts")
	at := func(ip string) {
		expect.NoError(t, os.WriteFile(hosts+".new", []byte(ip+" "+name+"\n"), 0o644))
		expect.NoError(t, os.Rename(hosts+".new", hosts))
	}
	kubeconfig := filepath.Join(root, "kubeconfig")
	expect.NoError(t, plane.WriteKubeconfig(kubeconfig, "system:node:"+name, "system:nodes"))
	expect.NoError(t, os.Chmod(kubeconfig, 0o644))
	// The kubeconfig contains the path of the CA file. The node process has another root folder, so the file must
	// exist at the same path in that folder.
	expect.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(plane.PKI.CAFile)), 0o755))
	expect.NoError(t, os.WriteFile(filepath.Join(root, plane.PKI.CAFile), plane.PKI.CA.CertPEM(), 0o644))
	expect.NoError(t, os.WriteFile(filepath.Join(root, "kubelet.yaml"), []byte(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
serverTLSBootstrap: true
nodeStatusUpdateFrequency: 1s
healthzPort: 0
`), 0o644))
	at("192.0.2.7")
	command := programs.Confined(t, root, 65532, 65532, nil,
		[]string{"/fauxlet", "serve", "--config=/kubelet.yaml", "--kubeconfig=/kubeconfig", "--cert-dir=/pki",
			"--port=0",
			"--hostname-override=" + name, "-v=2"})
	fauxlet, err := programs.Start("fauxlet", command[0], command[1:]...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := fauxlet.Stop(); err != nil {
			t.Error(err)
		}
		fauxlet.LogOnFailure(t, 0)
		plane.DeleteNode(t, name)
		forget(t, plane, name)
	})
	isAt := func(ip string) {
		t.Helper()
		plane.AwaitNode(t, name, "is at "+ip, func(node *v1.Node) string {
			want := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: ip}, {Type: v1.NodeHostName, Address: name}}
			if !slices.Equal(node.Status.Addresses, want) {
				return fmt.Sprint(node.Status.Addresses)
			}
			return ""
		})
		request := plane.PendingRequest(t, name, controlplane.ServingSigner)
		wantsRequest(t, request, name, "system:node:"+name, "server auth", "["+name+"]", "["+ip+"]")
		approve(t, plane, request.Name)
	}
	isAt("192.0.2.7")
	at("192.0.2.8")
	isAt("192.0.2.8")
}
