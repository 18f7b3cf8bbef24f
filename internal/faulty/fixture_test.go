package faulty_test

import (
	"context"
	"net"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"fauxlet/internal/faults"
	"fauxlet/internal/faulty"
	"fauxlet/internal/reviewapi"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"),
		goleak.IgnoreAnyFunction("k8s.io/apimachinery/pkg/util/wait.Forever"))
}

// node returns the decorators of node-1, and the set of the active faults of that node. The set is empty at first.
func node() (*faulty.Node, *faults.Set) {
	set := faults.NewSet()
	return faulty.NewNode("node-1", set, nil), set
}

// add parses a fault from JSON and activates it.
func add(t testing.TB, set *faults.Set, text string) *faults.Active {
	t.Helper()
	fault, err := faults.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	active, err := set.Add(fault)
	if err != nil {
		t.Fatal(err)
	}
	return active
}

// userInfo is the user of a token.
type userInfo = user.DefaultInfo

// serveReviews serves a review API until the test ends, and returns the configuration of its clients.
func serveReviews(t *testing.T, server *reviewapi.Server) *rest.Config {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	config := server.RESTConfig(listener.Addr().String())
	config.QPS = -1
	config.NextProtos = []string{"http/1.1"} // an HTTP/2 server would wait a second for its connections when it stops
	return config
}
