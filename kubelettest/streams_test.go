package kubelettest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"

	"fauxlet/kubelettest"
	"fauxlet/scenario"
)

// TestAttach checks that client-go can attach to a container over a WebSocket.
func TestAttach(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t, kubelettest.WithUser(
		kubelettest.User{Name: "debugger", Token: true, Allow: []string{"get,create nodes/proxy"}}))
	attach, err := remotecommand.NewWebSocketExecutorForProtocols(k.RESTConfig("debugger"), http.MethodGet,
		k.URL+"/attach/default/nginx/nginx?input=1&output=1", "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	in, typed := io.Pipe()
	shown, out := io.Pipe()
	attached := make(chan error, 1)
	go func() {
		attached <- attach.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: in, Stdout: out})
	}()
	go io.WriteString(typed, "hello\n")
	var screen bytes.Buffer
	for buffer := make([]byte, 4096); !bytes.Contains(screen.Bytes(), []byte("hello")); {
		n, err := shown.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		screen.Write(buffer[:n])
	}
	go io.Copy(io.Discard, shown)
	k.Close() // Close ends the attached stream, which would otherwise stay open
	<-attached
	typed.Close()
	shown.Close()
	k.AssertChecked(t, "debugger", "get nodes/proxy")
}

// TestPortForward checks that client-go can forward a port to a pod.
func TestPortForward(t *testing.T) {
	t.Parallel()
	k := kubelettest.New(t, kubelettest.WithPods(
		kubelettest.Pod("shop", "web", map[string]scenario.Container{"app": {Ports: []scenario.Port{{Port: 8080}}}})))
	transport, upgrader, err := spdy.RoundTripperFor(k.RESTConfig("kubelet-client"))
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(k.URL + "/portForward/shop/web")
	if err != nil {
		t.Fatal(err)
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, at)
	forwarder, err := portforward.New(dialer, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	forwarded := make(chan error, 1)
	go func() { forwarded <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-forwarded:
		t.Fatal(err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if status, body := get(t, client, fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local)); status != 200 {
		t.Errorf("status %d, body %s", status, body)
	}
	close(stop)
	if err := <-forwarded; err != nil {
		t.Error(err)
	}
	k.AssertChecked(t, "kubelet-client", "create nodes/proxy")
	if d := k.Decisions(); len(d) != 1 || d[0].Status != http.StatusSwitchingProtocols {
		t.Errorf("Decisions: %v", d)
	}
}
