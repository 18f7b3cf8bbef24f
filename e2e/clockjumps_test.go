package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// jumping is a fauxlet whose time of day jumps: on SIGUSR1 by as many seconds as the file "clock" of its folder says, from what
// it is to others. What is measured from one moment to another, and so timers, goes on as it was, as under Linux.
const jumping = "fauxlet-jumping"

// jumpNow is what Now is told by in package time, and jumpOnSignal what is added to fauxlet.
const (
	jumpNow      = "\tsec, nsec, mono := runtimeNow()\n\tsec += Jumped\n"
	jumpOnSignal = `package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func init() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			text, _ := os.ReadFile("clock")
			fmt.Sscan(string(text), &time.Jumped)
			os.Remove("clock")
		}
	}()
}
`
)

// freshJumping builds it.
func freshJumping(name string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(root)), "src/time/time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	before, now, found := strings.Cut(string(text), "\nfunc Now() Time {\n")
	now, jumps := strings.CutPrefix(now, "\tsec, nsec, mono := runtimeNow()\n")
	if !found || !jumps {
		return "", fmt.Errorf("%s: Now is not as it was; see where it has the time of day from", source)
	}
	main, err := filepath.Abs("../cmd/fauxlet/jump_on_signal.go") // where there is none
	if err != nil {
		return "", err
	}
	changed := map[string]string{
		source: before + "\nvar Jumped int64\n\nfunc Now() Time {\n" + jumpNow + now,
		main:   jumpOnSignal,
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, content := range changed {
		file := filepath.Join(scratch, filepath.Base(path))
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return "", err
		}
		overlay.Replace[path] = file
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	file := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(file, list, 0o644); err != nil {
		return "", err
	}
	path := filepath.Join(scratch, name)
	return path, goBuild("..", path, "./cmd/fauxlet", "-overlay="+file)
}

// jump has the clock of a node be so far ahead.
func (b *bootstrapped) jump(t testing.TB, ahead time.Duration) {
	t.Helper()
	file := filepath.Join(b.dir, "clock")
	must(t, os.WriteFile(file, []byte(fmt.Sprint(int(ahead.Seconds()))), 0o644))
	must(t, b.cmd.Process.Signal(syscall.SIGUSR1))
	eventually(t, time.Minute, "the clock jumps", func() string {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprint("it is asked to: ", err)
		}
		return ""
	})
}

// TestClockJumps: a node whose clock jumps over the end of its certificates serves nothing by them, and asks for others by
// itself, as the user of the bootstrap kubeconfig. When the clock is set back, its pods go on.
func TestClockJumps(t *testing.T) {
	plane := withFlags(t, bootstrapping)
	signer := plane.startControllerManager(t, certificateControllers, 20*time.Minute)
	plane.allow(t, "system:node-bootstrapper", "system:bootstrappers")
	plane.allow(t, "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers:auto")
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	scenario := filepath.Join(t.TempDir(), "scenario.yaml")
	must(t, os.WriteFile(scenario, []byte("apiVersion: fauxlet/v1alpha1\nkind: Scenario\ncontainers:\n- {pod: ends, exits: {after: 15s}}\n"), 0o644))
	const node = "jumping"
	b := plane.nodeOf(t, jumping, node, "auto", true, "--scenario", scenario)
	client := b.current(t, "client", "")
	plane.awaitNode(t, node, "is Ready", readyIs(v1.ConditionTrue))
	plane.approve(t, plane.pending(t, node, servingSigner).Name)
	server := b.current(t, "server", "")
	plane.create(t, boundTo(node, "stays"))
	stays := plane.awaitPod(t, "stays", "runs", phaseIs(v1.PodRunning))
	logs := func() string {
		if got := plane.kubectl(t, "logs", "stays", "--tail=1"); got.status != 0 {
			return got.stderr
		}
		return ""
	}
	eventually(t, time.Minute, "kubectl logs", logs)

	// Those that are issued from now on are good by its clock too.
	must(t, signer.stop())
	plane.startControllerManager(t, certificateControllers, 2*time.Hour)
	b.jump(t, time.Hour)
	at := fmt.Sprintf("127.0.0.1:%d", plane.awaitNode(t, node, "is there", func(*v1.Node) string { return "" }).Status.DaemonEndpoints.KubeletEndpoint.Port)
	if _, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true}); err == nil || !strings.Contains(err.Error(), "tls: internal error") {
		t.Errorf("a handshake when the serving certificate has expired: %v", err)
	}
	b.tells(t, "the clock has jumped")
	b.current(t, "client", client)
	all := plane.requests(t, node, clientSigner)
	if len(all) != 2 || !strings.HasPrefix(all[1].Spec.Username, "system:bootstrap:") {
		t.Errorf("%d requests, the last by %s", len(all), all[len(all)-1].Spec.Username)
	}
	plane.approve(t, plane.pending(t, node, servingSigner).Name)
	b.current(t, "server", server)
	eventually(t, time.Minute, "kubectl logs", logs)
	n := &joined{process: b.process, name: node, plane: plane}
	n.works(t, "ahead")

	plane.create(t, boundTo(node, "ends", func(pod *v1.Pod) { pod.Spec.RestartPolicy = v1.RestartPolicyNever }))
	plane.awaitPod(t, "ends", "runs", phaseIs(v1.PodRunning))
	b.jump(t, 0)
	plane.awaitPod(t, "ends", "ends", phaseIs(v1.PodSucceeded))
	n.works(t, "afterwards")
	eventually(t, time.Minute, "kubectl logs", logs)
	plane.runsStill(t, stays)
}
