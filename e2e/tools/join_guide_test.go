package tools

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/guide"
	"fauxlet/e2e/internal/programs"
)

// reworded replaces texts in the page. oldNew alternates old and new texts, and the page must contain every old
// text.
func reworded(t testing.TB, text string, oldNew ...string) string {
	t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			t.Fatalf("there is no %q in\n%s", oldNew[i], text)
		}
		text = strings.ReplaceAll(text, oldNew[i], oldNew[i+1])
	}
	return text
}

// TestJoinGuide runs the commands of docs/join.md with a bare control plane in an empty folder, and the first
// command of docs/many-nodes.md. The test changes only ports and addresses in the commands.
func TestJoinGuide(t *testing.T) {
	t.Parallel()
	g := guide.New(t, "join.md", t.TempDir(), "etcd", "kube-apiserver", "kubectl", "fauxlet")
	port := func() string { return fmt.Sprint(programs.FreePort(t)) }
	client, peer, apiserver := port(), port(), port()
	bare := g.Blocks(t, "A bare control plane", "sh")
	up, serve, _ := strings.Cut(bare[0]+bare[1], "fauxlet serve ")
	up = reworded(t, up, "2379", client, "6443", apiserver,
		"etcd --data-dir etcd ",
		fmt.Sprintf("etcd --data-dir etcd --unsafe-no-fsync --log-level=warn "+
			"--listen-client-urls=http://127.0.0.1:%[1]s "+
			"--advertise-client-urls=http://127.0.0.1:%[1]s --listen-peer-urls=http://127.0.0.1:%[2]s ", client, peer),
		"--secure-port=", "--bind-address=127.0.0.1 --endpoint-reconciler-type=none --secure-port=")
	plane := g.Start(t, up+"touch up\ntrap 'kill %2; wait %2; kill %1; wait' TERM\nwait\n")
	expect.Eventually(t, 2*time.Minute, "the control plane is up", func() string {
		select {
		case <-plane.Ended:
			t.Fatalf("the control plane has ended: %v", plane.Err)
		default:
		}
		_, err := os.Stat(filepath.Join(g.Dir, "up"))
		if err != nil {
			return err.Error()
		}
		return ""
	})

	const admin = "KUBECONFIG=admin.conf"
	const list = "kubectl get nodes" // list is the first command of docs/many-nodes.md
	are := func(count int, status string) (listed string) {
		t.Helper()
		expect.Eventually(t, time.Minute, fmt.Sprintf("%d nodes are %s", count, status), func() string {
			nodes := g.Runs(t, list, admin)
			if strings.Count(nodes.Stdout, " "+status+" ") != count {
				return fmt.Sprintf("%+v", nodes)
			}
			listed = nodes.Stdout
			return ""
		})
		return listed
	}
	shown, use, _ := strings.Cut(g.Blocks(t, "", "sh")[1], "\n")
	expect.Contains(t, "the page", shown, list)
	expect.Contains(t, "the page", shown, "# node-1   Ready")
	command := reworded(t, g.Block(t, "", "sh"), "192.0.2.7", "127.0.0.1")
	for _, command := range []string{"fauxlet serve " + serve,
		strings.TrimSuffix(command, "\n") + " --read-only-port 0\n"} {
		fauxlet := g.Start(t, "exec "+strings.TrimSuffix(command, "\n")+" --port 0\n")
		expect.Contains(t, command, are(1, "Ready"), "node-1   Ready")
		used := g.Runs(t, use, admin)
		for _, want := range []string{"pod/web condition met", "HTTP/1.1", "\nweb\n", `pod "web" deleted`} {
			expect.Contains(t, command, used.Stdout, want)
		}
		expect.NoError(t, fauxlet.Stop())
		are(1, "NotReady")
	}
	g.Runs(t, "kubectl delete node node-1", admin)

	many := guide.New(t, "many-nodes.md", g.Dir, "fauxlet")
	metrics := "127.0.0.1:" + port()
	fauxlet := many.Start(t,
		"exec "+reworded(t, many.Block(t, "", "sh"), "--nodes 1000", "--nodes 10", "127.0.0.1:9250",
			metrics, "--port 0", "--port 0 --read-only-port 0"))
	are(10, "Ready")
	expect.Eventually(t, time.Minute, "the ready file contains the nodes", func() string {
		file, err := os.ReadFile(filepath.Join(g.Dir, "ready.json"))
		if err != nil || !strings.Contains(string(file), `"fake-9":`) {
			return fmt.Sprint(string(file), err)
		}
		return ""
	})
	expect.Contains(t, "the metrics", expect.Page(t, "http://"+metrics+"/metrics"), `node="fake-9"`)
	expect.NoError(t, fauxlet.Stop())
	are(10, "NotReady")
}
