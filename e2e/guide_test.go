package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// guide runs a page of docs/ in a folder, heading by heading.
type guide struct {
	page, text, dir string
	env             []string
}

// newGuide opens a page, for a folder, with programs on the path. What they start ends with them.
func newGuide(t testing.TB, page, dir string, programs ...string) *guide {
	t.Helper()
	g := &guide{page: page, text: content(t, filepath.Join("../docs", page)), dir: dir}
	bin := t.TempDir()
	for _, name := range programs {
		script := fmt.Sprintf("#!/bin/sh\nexec setpriv --pdeathsig KILL %s \"$@\"\n", binary(t, name))
		must(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	g.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + scratch}
	return g
}

// block is the first of a language under a heading; under none it is the page's first.
func (g *guide) block(t testing.TB, heading, language string) string {
	t.Helper()
	return g.blocks(t, heading, language)[0]
}

// blocks are those of a language under a heading.
func (g *guide) blocks(t testing.TB, heading, language string) (blocks []string) {
	t.Helper()
	section := g.text
	if heading != "" {
		_, section, _ = strings.Cut(section, "\n## "+heading+"\n")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, part := range strings.Split(section, "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if blocks == nil {
		t.Fatalf("docs/%s has no %s under %q", g.page, language, heading)
	}
	return blocks
}

// run runs the commands under a heading.
func (g *guide) run(t testing.TB, heading string, env ...string) said {
	t.Helper()
	return g.runs(t, g.block(t, heading, "sh"), env...)
}

// runs runs commands of the page.
func (g *guide) runs(t testing.TB, commands string, env ...string) said {
	t.Helper()
	cmd := exec.Command("bash", "-eux", "-c", commands)
	cmd.Dir, cmd.Env = g.dir, append(slices.Clone(g.env), env...)
	got := run(t, cmd)
	if got.status != 0 {
		t.Fatalf("docs/%s, %s: %+v", g.page, commands, got)
	}
	return got
}

// start starts commands of the page that go on. They are stopped with the test.
func (g *guide) start(t testing.TB, commands string) *process {
	t.Helper()
	argv := slices.Concat([]string{"-i"}, g.env, []string{"bash", "-eux", "-c", "cd " + g.dir + "\n" + commands})
	p, err := start("bash", "env", argv...)
	must(t, err)
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		p.tell(t, 0)
	})
	return p
}

// reworded is text with each old, of pairs of old and new, replaced, which must be there.
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

// TestJoinGuide is docs/join.md with a bare control plane, in an empty folder, and the first command of docs/many-nodes.md.
// Only ports and addresses are others.
func TestJoinGuide(t *testing.T) {
	t.Parallel() // it waits most of the time
	g := newGuide(t, "join.md", t.TempDir(), "etcd", "kube-apiserver", "kubectl", "fauxlet")
	port := func() string { return fmt.Sprint(freePort(t)) }
	client, peer, apiserver := port(), port(), port()
	bare := g.blocks(t, "A bare control plane", "sh")
	up, serve, _ := strings.Cut(bare[0]+bare[1], "fauxlet serve ")
	up = reworded(t, up, "2379", client, "6443", apiserver,
		"etcd --data-dir etcd ", fmt.Sprintf("etcd --data-dir etcd --unsafe-no-fsync --log-level=warn --listen-client-urls=http://127.0.0.1:%[1]s "+
			"--advertise-client-urls=http://127.0.0.1:%[1]s --listen-peer-urls=http://127.0.0.1:%[2]s ", client, peer),
		"--secure-port=", "--bind-address=127.0.0.1 --endpoint-reconciler-type=none --secure-port=")
	plane := g.start(t, up+"touch up\ntrap 'kill %2; wait %2; kill %1; wait' TERM\nwait\n")
	eventually(t, 2*time.Minute, "the control plane is up", func() string {
		select {
		case <-plane.ended:
			t.Fatalf("it has ended: %v", plane.err)
		default:
		}
		_, err := os.Stat(filepath.Join(g.dir, "up"))
		if err != nil {
			return err.Error()
		}
		return ""
	})

	const admin = "KUBECONFIG=admin.conf"
	const list = "kubectl get nodes" // which the page begins with; a node is Ready a moment after it was started
	are := func(count int, status string) (listed string) {
		t.Helper()
		eventually(t, time.Minute, fmt.Sprintf("%d nodes are %s", count, status), func() string {
			nodes := g.runs(t, list, admin)
			if strings.Count(nodes.stdout, " "+status+" ") != count {
				return fmt.Sprintf("%+v", nodes)
			}
			listed = nodes.stdout
			return ""
		})
		return listed
	}
	shown, use, _ := strings.Cut(g.blocks(t, "", "sh")[1], "\n")
	contains(t, "the page", shown, list)
	contains(t, "the page", shown, "# node-1   Ready")
	command := reworded(t, g.block(t, "", "sh"), "192.0.2.7", "127.0.0.1")
	for _, command := range []string{"fauxlet serve " + serve, strings.TrimSuffix(command, "\n") + " --read-only-port 0\n"} {
		fauxlet := g.start(t, "exec "+strings.TrimSuffix(command, "\n")+" --port 0\n")
		contains(t, command, are(1, "Ready"), "node-1   Ready")
		used := g.runs(t, use, admin)
		for _, want := range []string{"pod/web condition met", "HTTP/1.1", "\nweb\n", `pod "web" deleted`} {
			contains(t, command, used.stdout, want)
		}
		must(t, fauxlet.stop())
		are(1, "NotReady")
	}
	g.runs(t, "kubectl delete node node-1", admin)

	many := newGuide(t, "many-nodes.md", g.dir, "fauxlet")
	metrics := "127.0.0.1:" + port()
	fauxlet := many.start(t, "exec "+reworded(t, many.block(t, "", "sh"), "--nodes 1000", "--nodes 10", "127.0.0.1:9250", metrics, "--port 0", "--port 0 --read-only-port 0"))
	are(10, "Ready")
	eventually(t, time.Minute, "they are in the ready file", func() string {
		file, err := os.ReadFile(filepath.Join(g.dir, "ready.json"))
		if err != nil || !strings.Contains(string(file), `"fake-9":`) {
			return fmt.Sprint(string(file), err)
		}
		return ""
	})
	contains(t, "the metrics", page(t, "http://"+metrics+"/metrics"), `node="fake-9"`)
	must(t, fauxlet.stop())
	are(10, "NotReady")
}
