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

// leaks lists goroutines that the leak test ignores: they run as long as the process, or client-go stops them late.
var leaks = []goleak.Option{
	goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
	goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"), // started by the handler of /healthz/log
	// After a WebSocket is closed, the client's heartbeat goroutine ends at its next ping.
	goleak.IgnoreTopFunction("k8s.io/client-go/tools/remotecommand.(*heartbeat).start"),
	// After an SPDY connection is closed, its goroutine waits some time for a reader of the last error.
	goleak.IgnoreTopFunction("github.com/moby/spdystream.(*Connection).shutdown"),
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, leaks...) }

// fakeT records failures instead of failing the test. Its deadline is near, so that waiting methods give up soon.
type fakeT struct {
	testing.TB
	deadline time.Time

	mu     sync.Mutex
	errors []string
}

// failing runs a test that should fail, and returns its errors.
func failing(t *testing.T, test func(testing.TB)) string {
	t.Helper()
	f := &fakeT{TB: t, deadline: time.Now().Add(1100 * time.Millisecond)} // one second of it is reserved for the report
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

func (f *fakeT) Deadline() (time.Time, bool) { return f.deadline, true }

func (f *fakeT) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// get returns the status and the body of a response.
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

// expect fails the test unless a user's request has a status and a body that contains a text.
func expect(t testing.TB, k *kubelettest.Kubelet, user, path string, status int, text string) {
	t.Helper()
	if got, body := get(t, k.Client(user), k.URL+path); got != status || !strings.Contains(body, text) {
		t.Errorf("%q, %s: %d %q, want %d and %q", user, path, got, body, status, text)
	}
}

// logged is a testing.TB that keeps the lines that are logged to it.
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

// httpClient returns the HTTP client of client-go.
func httpClient(t testing.TB, config *rest.Config) *http.Client {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(client.Transport) })
	return client
}
