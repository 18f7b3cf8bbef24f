package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
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

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
	"fauxlet/e2e/internal/programs"
	"fauxlet/e2e/internal/sample"
)

// paths lists the three ways in which a stream reaches the kubelet: SPDY from end to end, a WebSocket that
// kube-apiserver translates to SPDY, and a WebSocket that kube-apiserver passes on unchanged. kube-apiserver passes
// it on if the Node declares that its kubelet can translate.
var paths = []struct {
	name       string
	websocket  bool
	declared   bool
	translated bool // the kubelet, not kube-apiserver, translates the WebSocket
}{
	{name: "spdy"},
	{name: "websocket-to-the-apiserver", websocket: true},
	{name: "websocket-to-the-kubelet", websocket: true, declared: true, translated: true},
	{name: "spdy-to-a-node-that-declares", declared: true},
}

// streaming is a node with a pod, and one of the paths by which streams reach the node.
type streaming struct {
	plane   *controlplane.Plane
	kubelet *kubelet.Kubelet
	env     []string
}

func (s *streaming) command(t testing.TB, ctx context.Context, args ...string) *exec.Cmd {
	cmd := s.plane.KubectlCommand(t, ctx, args...)
	cmd.Env = append(cmd.Env, s.env...)
	return cmd
}

func (s *streaming) kubectl(t testing.TB, stdin string, args ...string) programs.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := s.command(t, ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return programs.Run(t, cmd)
}

// overEachPath runs a test once for each entry of the list "paths". Afterwards it reads the kubelet's metrics. These
// metrics count translated WebSockets, and so prove which path the streams took.
func overEachPath(t *testing.T, pods []sample.Pod, test func(*testing.T, *streaming)) {
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	for _, path := range paths {
		if path.declared && programs.APIServerMinor() < 36 {
			continue // kube-apiserver does not store the declared features before 1.36
		}
		t.Run(path.name, func(t *testing.T) {
			s := &streaming{plane: plane, kubelet: kubelet.Start(t, plane, kubelet.Options{Pods: pods})}
			plane.Register(t, s.kubelet.Node, s.kubelet.Port, pods...)
			if path.declared {
				declare(t, plane, s.kubelet.Node, "ExtendWebSocketsToKubelet")
			}
			s.env = []string{fmt.Sprintf("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=%v", path.websocket),
				fmt.Sprintf("KUBECTL_PORT_FORWARD_WEBSOCKETS=%v", path.websocket)}
			test(t, s)
			metrics := s.kubelet.Get(t, "/metrics", adminOfKubelets(t, plane)).Body
			if translated := strings.Contains(metrics,
				"\nkubelet_websocket_streaming_requests_total{"); translated != path.translated {
				t.Errorf("the kubelet translated a WebSocket: %v, want %v", translated, path.translated)
			}
		})
	}
}

// declare sets the field declaredFeatures in a Node's status, as the kubelet of the Node would.
func declare(t testing.TB, c *controlplane.Plane, node string, features ...string) {
	t.Helper()
	nodes := c.Client.CoreV1().Nodes()
	object, err := nodes.Get(context.Background(), node, metav1.GetOptions{})
	expect.NoError(t, err)
	object.Status.DeclaredFeatures = features
	object, err = nodes.UpdateStatus(context.Background(), object, metav1.UpdateOptions{})
	expect.NoError(t, err)
	if len(object.Status.DeclaredFeatures) != len(features) {
		t.Fatalf("kube-apiserver stored the declared features as %q", object.Status.DeclaredFeatures)
	}
}

func TestKubectlExec(t *testing.T) {
	t.Parallel()
	overEachPath(t, []sample.Pod{sample.Nginx()}, func(t *testing.T, s *streaming) {
		for _, test := range []struct {
			name, stdin string
			args        []string
			want        programs.Result
		}{
			{"output", "", []string{"nginx", "--", "echo", "hello", "there"}, programs.Result{Stdout: "hello there\n"}},
			{"hostname", "", []string{"nginx", "--", "hostname"}, programs.Result{Stdout: "nginx\n"}},
			{"pipe", "one\ntwo\n", []string{"-i", "nginx", "--", "sh", "-c", "cat; exit 3"},
				programs.Result{Stdout: "one\ntwo\n", Stderr: "command terminated with exit code 3\n", Status: 3}},
			{"stderr", "", []string{"nginx", "--", "sh", "-c", "echo out; echo err >&2"},
				programs.Result{Stdout: "out\n", Stderr: "err\n"}},
			{"failure", "", []string{"nginx", "--", "false"},
				programs.Result{Stderr: "command terminated with exit code 1\n", Status: 1}},
			{"much", strings.Repeat("0123456789abcde\n", 1<<16), []string{"-i", "nginx", "--", "wc", "-c"},
				programs.Result{Stdout: "1048576\n"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				if got := s.kubectl(t, test.stdin, append([]string{"exec"}, test.args...)...); got != test.want {
					t.Errorf("got %+v, want %+v", got, test.want)
				}
			})
		}
		t.Run("much-back", func(t *testing.T) {
			got := s.kubectl(t, "", "exec", "nginx", "--", "seq", "1", "100000")
			if lines := strings.Count(got.Stdout, "\n"); lines != 100000 ||
				!strings.HasSuffix(got.Stdout, "\n99999\n100000\n") || got.Status != 0 {
				t.Errorf("%d lines, status %d, %s", lines, got.Status, got.Stderr)
			}
		})
		t.Run("no-such-command", func(t *testing.T) {
			got := s.kubectl(t, "", "exec", "nginx", "--", "nope", "--really")
			expect.Contains(t, "stderr", got.Stderr, `exec: "nope": executable file not found in $PATH`)
			if expect.Contains(t, "stderr", got.Stderr, "command terminated with exit code 127\n"); got.Status != 127 {
				t.Errorf("status %d, want 127", got.Status)
			}
		})
		t.Run("no-such-container", func(t *testing.T) {
			got := s.kubectl(t, "", "exec", "nginx", "-c", "nope", "--", "true")
			if expect.Contains(t, "stderr", got.Stderr, "container nope is not valid for pod nginx"); got.Status != 1 {
				t.Errorf("status %d, want 1", got.Status)
			}
		})
	})
}

// TestKubectlExecTerminal types commands into a shell, through a real terminal.
func TestKubectlExecTerminal(t *testing.T) {
	t.Parallel()
	overEachPath(t, []sample.Pod{sample.Nginx()}, func(t *testing.T, s *streaming) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := s.command(t, ctx, "exec", "-it", "nginx", "--", "sh")
		terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
		expect.NoError(t, err)
		defer terminal.Close()
		screen := &programs.Buffer{}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(screen, terminal) // when kubectl ends, Copy returns the error EIO
		}()
		shows := func(want string) {
			t.Helper()
			expect.Eventually(t, time.Minute, fmt.Sprintf("the terminal shows %q", want), func() string {
				if text := screen.String(); !strings.Contains(text, want) {
					return fmt.Sprintf("%q", text)
				}
				return ""
			})
		}
		types := func(text string) {
			t.Helper()
			_, err := io.WriteString(terminal, text)
			expect.NoError(t, err)
		}
		shows("/ # ")
		types("echo $((40+2)) forty-two\r")
		shows("42 forty-two\r\n")
		types("sleep 1000\r")
		shows("sleep 1000\r\n")
		types("\x03") // Ctrl-C interrupts the running command
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
	t.Parallel()
	growing := sample.Nginx()
	growing.Containers[0].Grows = true
	overEachPath(t, []sample.Pod{growing}, func(t *testing.T, s *streaming) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := s.command(t, ctx, "attach", "-i", "nginx")
		stdin, err := cmd.StdinPipe()
		expect.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		expect.NoError(t, err)
		expect.NoError(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		_, err = io.WriteString(stdin, "is anybody there?\n")
		expect.NoError(t, err)
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
		expect.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	})
}

func TestKubectlPortForward(t *testing.T) {
	t.Parallel()
	overEachPath(t, []sample.Pod{sample.Nginx()}, func(t *testing.T, s *streaming) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := s.command(t, ctx, "port-forward", "--address", "127.0.0.1", "pod/nginx", ":80")
		stdout, err := cmd.StdoutPipe()
		expect.NoError(t, err)
		expect.NoError(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		if !lines.Scan() {
			t.Fatalf("port-forward has ended: %v", lines.Err())
		}
		found := regexp.MustCompile(`^Forwarding from 127\.0\.0\.1:(\d+) -> 80$`).FindStringSubmatch(lines.Text())
		if found == nil {
			t.Fatalf("port-forward printed %q", lines.Text())
		}
		go io.Copy(io.Discard, stdout)
		for number := 1; number <= 3; number++ {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+found[1]+"/index.html",
				nil)
			expect.NoError(t, err)
			got := kubelet.Send(t, &http.Transport{DisableKeepAlives: true}, request)
			want := fmt.Sprintf("pod default/nginx\nport 80\nconnection %d\nGET /index.html\n", number)
			if got.Status != 200 || got.Body != want {
				t.Errorf("%d %q, want %q", got.Status, got.Body, want)
			}
		}
		expect.NoError(t, cmd.Process.Signal(os.Interrupt))
		_ = cmd.Wait()
	})
}

// TestKubectlCopy copies a folder into a container and back with kubectl cp, which runs tar in the fake shell. The
// folder has a symbolic link, and a file that is larger than a frame of SPDY may be (16 MiB).
func TestKubectlCopy(t *testing.T) {
	t.Parallel()
	overEachPath(t, []sample.Pod{sample.Nginx()}, func(t *testing.T, s *streaming) {
		dir := t.TempDir()
		given, back := filepath.Join(dir, "given"), filepath.Join(dir, "back")
		expect.NoError(t, os.Mkdir(given, 0o755))
		text := strings.Repeat("a line of the file\n", 10000)
		expect.NoError(t, os.WriteFile(filepath.Join(given, "file.txt"), []byte(text), 0o600))
		large := make([]byte, 17<<20)
		_, _ = rand.NewChaCha8([32]byte{}).Read(large)
		expect.NoError(t, os.WriteFile(filepath.Join(given, "large"), large, 0o600))
		expect.NoError(t, os.Symlink("file.txt", filepath.Join(given, "link")))
		for _, args := range [][]string{{"cp", given, "nginx:/tmp/given"}, {"cp", "nginx:/tmp/given", back}} {
			if got := s.kubectl(t, "", args...); got.Status != 0 {
				t.Fatalf("kubectl %s: %+v", strings.Join(args, " "), got)
			}
		}
		if expect.File(t, filepath.Join(back, "file.txt")) != text {
			t.Error("the copied file differs")
		}
		if expect.File(t, filepath.Join(back, "large")) != string(large) {
			t.Error("the copied large file differs")
		}
		if got := s.kubectl(t, "", "exec", "nginx", "--", "readlink", "/tmp/given/link"); got.Stdout != "file.txt\n" {
			t.Errorf("the copied link in the container: %+v", got)
		}
		if got := s.kubectl(t, "", "exec", "nginx", "--", "wc", "-l",
			"/tmp/given/file.txt"); got.Stdout != "10000 /tmp/given/file.txt\n" {
			t.Errorf("the copied file in the container: %+v", got)
		}
	})
}

// TestKubectlLogsOfOtherContainers reads the logs of an init container that has ended, and of a container that keeps
// crashing.
func TestKubectlLogsOfOtherContainers(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t, controlplane.WithClientCertificate)
	plane.Bind(t, controlplane.KubeletAPIAdmin, controlplane.User("kubelet-client"))
	at := time.Now().Add(-time.Minute)
	job := sample.Pod{Namespace: "default", Name: "job", Containers: []sample.Container{
		{Name: "prepare", Init: true, Log: []sample.Line{{At: at, Text: "prepared"}}},
		{Name: "crashing", Crashes: true, Log: []sample.Line{{At: at, Text: "panic: now"}},
			Previous: []sample.Line{{At: at, Text: "panic: before"}}},
	}}
	k := kubelet.Start(t, plane, kubelet.Options{Pods: []sample.Pod{job}})
	plane.Register(t, k.Node, k.Port, job)
	for _, test := range []struct {
		args []string
		want programs.Result
	}{
		{[]string{"-c", "prepare"}, programs.Result{Stdout: "prepared\n"}},
		{[]string{"-c", "crashing"}, programs.Result{Stdout: "panic: now\n"}},
		{[]string{"-c", "crashing", "-p"}, programs.Result{Stdout: "panic: before\n"}},
		{[]string{"-c", "prepare", "-p"}, programs.Result{Status: 1,
			Stderr: "Error from server (BadRequest): previous terminated container \"prepare\" in pod \"job\" " +
				"not found\n"}},
	} {
		if got := plane.Kubectl(t, append([]string{"logs", "job"}, test.args...)...); got != test.want {
			t.Errorf("kubectl logs job %s: %+v, want %+v", strings.Join(test.args, " "), got, test.want)
		}
	}
	got := plane.Kubectl(t, "exec", "job", "-c", "crashing", "--", "true")
	if expect.Contains(t, "exec in a container that is down", got.Stderr,
		`container not found ("crashing")`); got.Status != 1 {
		t.Errorf("status %d, want 1", got.Status)
	}
	pods, err := plane.Client.CoreV1().Pods("default").Get(t.Context(), "job", metav1.GetOptions{})
	expect.NoError(t, err)
	if pods.Status.ContainerStatuses[0].State.Waiting == nil || pods.Status.Phase != v1.PodRunning {
		t.Errorf("status %+v", pods.Status)
	}
}
