package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// kwokStages lists the files in the folder kustomize/stage/fast of the KWOK sources.
var kwokStages = []string{
	"node/fast/node-initialize.yaml", "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
	"pod/fast/pod-ready.yaml", "pod/fast/pod-complete.yaml", "pod/fast/pod-delete.yaml",
}

// kwokOptions is the file kustomize/kwok/kwok.yaml of the KWOK sources with two changes: KWOK manages all nodes, and
// reads stages and logs from files instead of custom resources.
const kwokOptions = `apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options:
  enablePodsOnNodeSyncListPager: false
  enablePodsOnNodeSyncStreamWatch: true
  nodeLeaseParallelism: %[1]d
  podPlayStageParallelism: %[1]d
  nodePlayStageParallelism: %[1]d
  cidr: 10.0.0.0/24
  manageAllNodes: true
  enableDebuggingHandlers: true
  nodeLeaseDurationSeconds: %[2]d
`

// startKWOK starts KWOK. It also creates the Nodes, because KWOK does not create them. FAUXLET_E2E_KWOK_PARALLELISM
// replaces KWOK's default of 4 parallel workers.
func startKWOK(t *testing.T, r *fleetRun) {
	dir := t.TempDir()
	config := filepath.Join(dir, "kwok.yaml")
	text := fmt.Sprintf(kwokOptions, programs.NumberFromEnvironment(t, "FAUXLET_E2E_KWOK_PARALLELISM", 4), r.lease)
	for j := range podsPerNode {
		log := filepath.Join(dir, fmt.Sprintf("%d.log", j))
		expect.NoError(t, os.WriteFile(log, []byte(time.Now().UTC().Format(time.RFC3339Nano)+" stdout F "+fleetLog(j)),
			0o644))
		var names []string
		for i := range r.nodes {
			names = append(names, fleetPod(i, j))
		}
		text += fmt.Sprintf("---\napiVersion: kwok.x-k8s.io/v1alpha1\nkind: ClusterLogs\nmetadata: {name: "+
			"logs-%d}\nspec:\n  selector: {matchNamespaces: [default], matchNames: [%s]}\n  logs:\n  - "+
			"{containers: [web], logsFile: %s}\n",
			j, strings.Join(names, ","), log)
	}
	for _, stage := range kwokStages {
		text += "---\n" + expect.File(t, filepath.Join(kwokModule(t), "kustomize", "stage", stage))
	}
	expect.NoError(t, os.WriteFile(config, []byte(text), 0o644))
	p, err := controlplane.Certificates()
	expect.NoError(t, err)
	kubelet.ServingCertificate(t)
	port := programs.FreePort(t)
	r.process, err = programs.Start("kwok", programs.Path(t, "kwok"), "--config", config, "--kubeconfig",
		r.plane.Kubeconfig, "--node-ip", "127.0.0.1",
		"--node-port", fmt.Sprint(port), "--server-address", fmt.Sprintf("127.0.0.1:%d", port),
		"--tls-cert-file", filepath.Join(p.Dir, "kubelet-server.crt"), "--tls-private-key-file",
		filepath.Join(p.Dir, "kubelet-server.key"), "-v", "WARN")
	expect.NoError(t, err)
	var group errgroup.Group
	group.SetLimit(16)
	for i := range r.nodes {
		group.Go(func() error {
			node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fleetNode(i), Labels: map[string]string{
				v1.LabelHostname: fleetNode(i), v1.LabelOSStable: "linux", v1.LabelArchStable: "amd64", "type": "kwok",
			}, Annotations: map[string]string{"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"}}}
			_, err := r.client.CoreV1().Nodes().Create(context.Background(), node, metav1.CreateOptions{})
			return err
		})
	}
	expect.NoError(t, group.Wait())
}

// kwokModule returns the folder of KWOK's sources. It contains the stages of KWOK.
func kwokModule(t *testing.T) string {
	t.Helper()
	path, version, _ := strings.Cut(programs.Modules["kwok"], "@")
	return programs.ModuleFolder(t, strings.TrimSuffix(path, "/cmd/kwok")+"@"+version)
}
