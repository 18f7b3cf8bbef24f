package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNodeMoves: a node that is at what the DNS says of its name tells so when that changes, and asks for a certificate for it.
func TestNodeMoves(t *testing.T) {
	plane := bootstrapPlane(t)
	const name = "moving"
	root := t.TempDir() // it has names of its own there
	must(t, os.Link(binary(t, "fauxlet"), filepath.Join(root, "fauxlet")))
	for _, dir := range []string{"etc", "pki"} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	must(t, os.Chown(filepath.Join(root, "pki"), 65532, 65532))
	hosts := filepath.Join(root, "etc/hosts")
	at := func(ip string) {
		must(t, os.WriteFile(hosts+".new", []byte(ip+" "+name+"\n"), 0o644))
		must(t, os.Rename(hosts+".new", hosts))
	}
	kubeconfig := filepath.Join(root, "kubeconfig")
	must(t, plane.writeKubeconfig(kubeconfig, "system:node:"+name, "system:nodes"))
	must(t, os.Chmod(kubeconfig, 0o644))
	// Its CA is a file outside.
	must(t, os.MkdirAll(filepath.Join(root, filepath.Dir(plane.pki.caFile)), 0o755))
	must(t, os.WriteFile(filepath.Join(root, plane.pki.caFile), plane.pki.ca.CertPEM(), 0o644))
	must(t, os.WriteFile(filepath.Join(root, "kubelet.yaml"), []byte(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
serverTLSBootstrap: true
nodeStatusUpdateFrequency: 1s
healthzPort: 0
`), 0o644))
	at("192.0.2.7")
	command := confined(t, root, 65532, 65532, nil, []string{"/fauxlet", "serve", "--config=/kubelet.yaml", "--kubeconfig=/kubeconfig", "--cert-dir=/pki", "--port=0", "--hostname-override=" + name, "-v=2"})
	fauxlet, err := start("fauxlet", command[0], command[1:]...)
	must(t, err)
	t.Cleanup(func() {
		if err := fauxlet.stop(); err != nil {
			t.Error(err)
		}
		fauxlet.tell(t, 0)
		if err := plane.client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		plane.forget(t, name)
	})
	isAt := func(ip string) {
		t.Helper()
		plane.awaitNode(t, name, "is at "+ip, func(node *v1.Node) string {
			want := []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: ip}, {Type: v1.NodeHostName, Address: name}}
			if !slices.Equal(node.Status.Addresses, want) {
				return fmt.Sprint(node.Status.Addresses)
			}
			return ""
		})
		request := plane.pending(t, name, servingSigner)
		wantsRequest(t, request, name, "system:node:"+name, "server auth", "["+name+"]", "["+ip+"]")
		plane.approve(t, request.Name)
	}
	isAt("192.0.2.7")
	at("192.0.2.8")
	isAt("192.0.2.8")
}
