package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// roads are the ways by which a stream reaches the kubelet: by SPDY all along, by a WebSocket that the apiserver
// translates, and by one that it passes on, because the Node declares that its kubelet translates.
var roads = []struct {
	name       string
	websocket  bool
	declared   bool
	translated bool // by the kubelet
}{
	{name: "spdy"},
	{name: "websocket-to-the-apiserver", websocket: true},
	{name: "websocket-to-the-kubelet", websocket: true, declared: true, translated: true},
	{name: "spdy-to-a-node-that-declares", declared: true},
}

// streaming is a control plane with a node, a pod, and a road to them.
type streaming struct {
	plane   *controlPlane
	kubelet *kubelet
	env     []string
}

func (s *streaming) command(t testing.TB, ctx context.Context, args ...string) *exec.Cmd {
	cmd := s.plane.kubectlCommand(t, ctx, args...)
	cmd.Env = append(cmd.Env, s.env...)
	return cmd
}

func (s *streaming) kubectl(t testing.TB, stdin string, args ...string) said {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := s.command(t, ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return run(t, cmd)
}

// overEachRoad runs a test on each. At its end it says how many streams the kubelet translated, which tells the roads apart.
func overEachRoad(t *testing.T, pods []pod, test func(*testing.T, *streaming)) {
	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	for _, road := range roads {
		t.Run(road.name, func(t *testing.T) {
			s := &streaming{plane: plane, kubelet: startKubelet(t, plane, kubeletOptions{pods: pods})}
			plane.register(t, s.kubelet.node, s.kubelet.port, pods...)
			if road.declared {
				plane.declare(t, s.kubelet.node, "ExtendWebSocketsToKubelet")
			}
			s.env = []string{fmt.Sprintf("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=%v", road.websocket), fmt.Sprintf("KUBECTL_PORT_FORWARD_WEBSOCKETS=%v", road.websocket)}
			test(t, s)
			metrics := s.kubelet.get(t, "/metrics", adminOfKubelets(t, plane)).body
			if translated := strings.Contains(metrics, "\nkubelet_websocket_streaming_requests_total{"); translated != road.translated {
				t.Errorf("the kubelet has translated a WebSocket: %v, want %v", translated, road.translated)
			}
		})
	}
}

// declare has the Node declare features, as its kubelet would.
func (c *controlPlane) declare(t testing.TB, node string, features ...string) {
	t.Helper()
	nodes := c.client.CoreV1().Nodes()
	object, err := nodes.Get(context.Background(), node, metav1.GetOptions{})
	must(t, err)
	object.Status.DeclaredFeatures = features
	object, err = nodes.UpdateStatus(context.Background(), object, metav1.UpdateOptions{})
	must(t, err)
	if len(object.Status.DeclaredFeatures) != len(features) {
		t.Fatalf("the apiserver keeps %q of the declared features", object.Status.DeclaredFeatures)
	}
}

func TestKubectlExec(t *testing.T) {
	overEachRoad(t, []pod{nginx()}, func(t *testing.T, s *streaming) {
		for _, test := range []struct {
			name, stdin string
			args        []string
			want        said
		}{
			{"output", "", []string{"nginx", "--", "echo", "hello", "there"}, said{stdout: "hello there\n"}},
			{"hostname", "", []string{"nginx", "--", "hostname"}, said{stdout: "nginx\n"}},
			{"pipe", "one\ntwo\n", []string{"-i", "nginx", "--", "sh", "-c", "cat; exit 3"}, said{stdout: "one\ntwo\n", stderr: "command terminated with exit code 3\n", status: 3}},
			{"stderr", "", []string{"nginx", "--", "sh", "-c", "echo out; echo err >&2"}, said{stdout: "out\n", stderr: "err\n"}},
			{"failure", "", []string{"nginx", "--", "false"}, said{stderr: "command terminated with exit code 1\n", status: 1}},
			{"much", strings.Repeat("0123456789abcde\n", 1<<16), []string{"-i", "nginx", "--", "wc", "-c"}, said{stdout: "1048576\n"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				if got := s.kubectl(t, test.stdin, append([]string{"exec"}, test.args...)...); got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
			})
		}
		t.Run("much-back", func(t *testing.T) {
			got := s.kubectl(t, "", "exec", "nginx", "--", "seq", "1", "100000")
			if lines := strings.Count(got.stdout, "\n"); lines != 100000 || !strings.HasSuffix(got.stdout, "\n99999\n100000\n") || got.status != 0 {
				t.Errorf("%d lines, status %d, %s", lines, got.status, got.stderr)
			}
		})
		t.Run("no-such-command", func(t *testing.T) {
			got := s.kubectl(t, "", "exec", "nginx", "--", "nope", "--really")
			contains(t, "stderr", got.stderr, `exec: "nope": executable file not found in $PATH`)
			if contains(t, "stderr", got.stderr, "command terminated with exit code 127\n"); got.status != 127 {
				t.Errorf("status %d, want 127", got.status)
			}
		})
		t.Run("no-such-container", func(t *testing.T) {
			got := s.kubectl(t, "", "exec", "nginx", "-c", "nope", "--", "true")
			if contains(t, "stderr", got.stderr, "container nope is not valid for pod nginx"); got.status != 1 {
				t.Errorf("status %d, want 1", got.status)
			}
		})
	})
}

// TestKubectlExecTerminal types at a shell, on a real terminal.
func TestKubectlExecTerminal(t *testing.T) {
	overEachRoad(t, []pod{nginx()}, func(t *testing.T, s *streaming) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := s.command(t, ctx, "exec", "-it", "nginx", "--", "sh")
		terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
		must(t, err)
		defer terminal.Close()
		screen := &output{}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(screen, terminal) // which ends with EIO
		}()
		shows := func(want string) {
			t.Helper()
			eventually(t, time.Minute, fmt.Sprintf("the terminal shows %q", want), func() string {
				if text := screen.String(); !strings.Contains(text, want) {
					return fmt.Sprintf("%q", text)
				}
				return ""
			})
		}
		types := func(text string) {
			t.Helper()
			_, err := io.WriteString(terminal, text)
			must(t, err)
		}
		shows("/ # ")
		types("echo $((40+2)) forty-two\r")
		shows("42 forty-two\r\n")
		types("sleep 1000\r")
		shows("sleep 1000\r\n")
		types("\x03") // Ctrl-C ends it
		types("hostname; echo said\r")
		shows("nginx\r\nsaid\r\n")
		types("exit 3\r")
		_ = cmd.Wait()
		<-ended
		if status := cmd.ProcessState.ExitCode(); status != 3 {
			t.Errorf("status %d, want 3; the terminal: %q", status, screen.String())
		}
	})
}

func TestKubectlAttach(t *testing.T) {
	growing := nginx()
	growing.containers[0].grows = true
	overEachRoad(t, []pod{growing}, func(t *testing.T, s *streaming) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := s.command(t, ctx, "attach", "-i", "nginx")
		stdin, err := cmd.StdinPipe()
		must(t, err)
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		_, err = io.WriteString(stdin, "is anybody there?\n")
		must(t, err)
		echoed, written := 0, 0
		for echoed == 0 || written < 3 {
			if !lines.Scan() {
				t.Fatalf("attach has ended: %v", lines.Err())
			}
			if lines.Text() == "is anybody there?" {
				echoed++
			} else {
				written++
			}
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	})
}

func TestKubectlPortForward(t *testing.T) {
	overEachRoad(t, []pod{nginx()}, func(t *testing.T, s *streaming) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := s.command(t, ctx, "port-forward", "--address", "127.0.0.1", "pod/nginx", ":80")
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		if !lines.Scan() {
			t.Fatalf("port-forward has ended: %v", lines.Err())
		}
		found := regexp.MustCompile(`^Forwarding from 127\.0\.0\.1:(\d+) -> 80$`).FindStringSubmatch(lines.Text())
		if found == nil {
			t.Fatalf("port-forward says %q", lines.Text())
		}
		go io.Copy(io.Discard, stdout)
		for number := 1; number <= 3; number++ {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+found[1]+"/index.html", nil)
			must(t, err)
			got := send(t, &http.Transport{DisableKeepAlives: true}, request)
			want := fmt.Sprintf("pod default/nginx\nport 80\nconnection %d\nGET /index.html\n", number)
			if got.status != 200 || got.body != want {
				t.Errorf("%d %q, want %q", got.status, got.body, want)
			}
		}
		must(t, cmd.Process.Signal(os.Interrupt))
		_ = cmd.Wait()
	})
}

// TestKubectlCopy copies into a container and out of it, by the tar of the fake shell.
func TestKubectlCopy(t *testing.T) {
	overEachRoad(t, []pod{nginx()}, func(t *testing.T, s *streaming) {
		dir := t.TempDir()
		given, back := filepath.Join(dir, "given"), filepath.Join(dir, "back")
		must(t, os.Mkdir(given, 0o755))
		text := strings.Repeat("a line of the file\n", 10000)
		must(t, os.WriteFile(filepath.Join(given, "file.txt"), []byte(text), 0o600))
		for _, args := range [][]string{{"cp", given, "nginx:/tmp/given"}, {"cp", "nginx:/tmp/given", back}} {
			if got := s.kubectl(t, "", args...); got.status != 0 {
				t.Fatalf("kubectl %s: %+v", strings.Join(args, " "), got)
			}
		}
		if content(t, filepath.Join(back, "file.txt")) != text {
			t.Error("what came back is not what was given")
		}
		if got := s.kubectl(t, "", "exec", "nginx", "--", "wc", "-l", "/tmp/given/file.txt"); got.stdout != "10000 /tmp/given/file.txt\n" {
			t.Errorf("in the container: %+v", got)
		}
	})
}

// TestKubectlLogsOfOtherContainers: those of an init container that has ended, and of one that crashes again and again.
func TestKubectlLogsOfOtherContainers(t *testing.T) {
	plane := withFlags(t, certified)
	plane.bind(t, kubeletAPIAdmin, userNamed("kubelet-client"))
	at := time.Now().Add(-time.Minute)
	job := pod{"default", "job", []container{
		{name: "prepare", init: true, log: []line{{at, "prepared"}}},
		{name: "crashing", crashes: true, log: []line{{at, "panic: now"}}, previous: []line{{at, "panic: before"}}},
	}}
	k := startKubelet(t, plane, kubeletOptions{pods: []pod{job}})
	plane.register(t, k.node, k.port, job)
	for _, test := range []struct {
		args []string
		want said
	}{
		{[]string{"-c", "prepare"}, said{stdout: "prepared\n"}},
		{[]string{"-c", "crashing"}, said{stdout: "panic: now\n"}},
		{[]string{"-c", "crashing", "-p"}, said{stdout: "panic: before\n"}},
		{[]string{"-c", "prepare", "-p"}, said{status: 1, stderr: "Error from server (BadRequest): previous terminated container \"prepare\" in pod \"job\" not found\n"}},
	} {
		if got := plane.kubectl(t, append([]string{"logs", "job"}, test.args...)...); got != test.want {
			t.Errorf("kubectl logs job %s: %+v, want %+v", strings.Join(test.args, " "), got, test.want)
		}
	}
	got := plane.kubectl(t, "exec", "job", "-c", "crashing", "--", "true")
	if contains(t, "exec in a container that is down", got.stderr, `container not found ("crashing")`); got.status != 1 {
		t.Errorf("status %d, want 1", got.status)
	}
	pods, err := plane.client.CoreV1().Pods("default").Get(t.Context(), "job", metav1.GetOptions{})
	must(t, err)
	if pods.Status.ContainerStatuses[0].State.Waiting == nil || pods.Status.Phase != v1.PodRunning {
		t.Errorf("status %+v", pods.Status)
	}
}
