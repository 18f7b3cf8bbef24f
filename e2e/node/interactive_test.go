package node

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	v1 "k8s.io/api/core/v1"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
)

// TestKubectlRun runs kubectl commands that attach to the process of a new container: kubectl run and kubectl debug.
// They must return when the process ends, and kubectl run must return its exit code.
func TestKubectlRun(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.ForNodes)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	n := join(t, plane, joinOptions{settings: kubelet.ServingCertificate(t)})
	plane.AwaitNode(t, n.name, "is Ready", controlplane.ReadyIs(v1.ConditionTrue))
	onNode := `--overrides={"spec":{"nodeName":"node-1"}}`

	for _, test := range []struct {
		name, stdin string
		args        []string
		stdout      string
		status      int
	}{
		{name: "cat", stdin: "x\n", args: []string{"--", "cat"}, stdout: "x\n"},
		{name: "shell", stdin: "hostname\nexit 3\n", stdout: "shell\n", status: 3},
		{name: "code", args: []string{"--", "sh", "-c", "exit 4"}, status: 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := plane.KubectlCommand(t, ctx, append([]string{"run", "-i", "--rm", "--restart=Never",
				"--image=busybox", onNode, test.name}, test.args...)...)
			cmd.Stdin = strings.NewReader(test.stdin)
			got := programs.Run(t, cmd)
			if !strings.HasPrefix(got.Stdout, test.stdout) || got.Status != test.status {
				t.Errorf("%+v, want %q and status %d", got, test.stdout, test.status)
			}
			plane.AwaitNoPod(t, test.name)
		})
	}

	plane.CreatePod(t, controlplane.BoundTo(n.name, "web"))
	plane.AwaitPod(t, "web", "runs", controlplane.PhaseIs(v1.PodRunning))
	for _, test := range []struct {
		args   []string
		status int
	}{
		{[]string{"run", "-it", "--rm", "--restart=Never", "--image=busybox", onNode, "terminal"}, 3},
		{[]string{"debug", "-it", "web", "--image=busybox", "--container=debugger"}, 0},
	} {
		t.Run(test.args[0]+"-it", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := plane.KubectlCommand(t, ctx, test.args...)
			terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
			expect.NoError(t, err)
			defer terminal.Close()
			screen, ended := &programs.Buffer{}, make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(screen, terminal) // when kubectl ends, Copy returns the error EIO
			}()
			expect.Eventually(t, time.Minute, "the terminal shows a prompt", func() string {
				if text := screen.String(); !strings.Contains(text, "/ # ") {
					return fmt.Sprintf("%q", text)
				}
				return ""
			})
			_, err = io.WriteString(terminal, "echo $((40+2)) forty-two\rexit 3\r")
			expect.NoError(t, err)
			_ = cmd.Wait()
			<-ended
			if status := cmd.ProcessState.ExitCode(); status != test.status ||
				!strings.Contains(screen.String(), "42 forty-two\r\n") {
				t.Errorf("status %d, want %d; the terminal: %q", status, test.status, screen.String())
			}
		})
	}
	plane.AwaitPod(t, "web", "has a debugger that has exited with code 3", func(pod *v1.Pod) string {
		s := pod.Status.EphemeralContainerStatuses
		if len(s) == 1 && s[0].State.Terminated != nil && s[0].State.Terminated.ExitCode == 3 {
			return ""
		}
		return fmt.Sprint(s)
	})
}
