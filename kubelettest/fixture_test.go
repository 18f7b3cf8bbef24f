package kubelettest_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"fauxlet/kubelettest"
)

// leaks lists goroutines that the leak test ignores. They run until the process ends, or client-go stops them late.
var leaks = []goleak.Option{
	goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
	// The handler of /healthz/log starts the goroutine of wait.Forever.
	goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"),
	// After a WebSocket connection is closed, the heartbeat goroutine of client-go runs until its next ping.
	goleak.IgnoreTopFunction("k8s.io/client-go/tools/remotecommand.(*heartbeat).start"),
	// After an SPDY connection is closed, a goroutine of package spdystream runs until the last error is read or a
	// timeout expires.
	goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Connection).shutdown"),
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, leaks...) }

// fakeT is a testing.TB that records failures in place of failing the test.
type fakeT struct {
	testing.TB

	mu     sync.Mutex
	errors []string
}

// failing runs a test that is expected to fail, and returns its error messages.
func failing(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	f := &fakeT{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
	}()
	<-done
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.errors, "\n")
}

// Deadline returns a time in 1.5 seconds. The methods of kubelettest stop waiting one second before the test's
// deadline, so each of them waits for at most half a second.
func (f *fakeT) Deadline() (time.Time, bool) { return time.Now().Add(1500 * time.Millisecond), true }

func (f *fakeT) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// get sends a GET request and returns the status and the body of the response.
func get(t testing.TB, client *http.Client, url string) (int, string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// expect sends a GET request as a user. It checks that the response has the given status, and that the body contains
// the given text.
func expect(t testing.TB, k *kubelettest.Kubelet, user, path string, status int, text string) {
	t.Helper()
	if got, body := get(t, k.Client(user), k.URL+path); got != status || !strings.Contains(body, text) {
		t.Errorf("%q, %s: %d %q, want %d and %q", user, path, got, body, status, text)
	}
}

// logged is a testing.TB that stores the lines that are logged.
type logged struct {
	testing.TB
	mu    sync.Mutex
	lines []string
}

func (l *logged) Logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// httpClient returns the HTTP client that client-go uses for a configuration. Its idle connections are closed when the
// test ends.
func httpClient(t testing.TB, config *rest.Config) *http.Client {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(client.Transport) })
	return client
}
