// Package kubelettest runs a stand-in kubelet inside a Go program, as net/http/httptest runs a web server. It is for
// tests of programs that send requests to kubelets, such as metrics scrapers, log collectors and clients of exec,
// and for tests of authorizers.
//
//	func TestScraper(t *testing.T) {
//		k := kubelettest.New(t, kubelettest.WithUser(kubelettest.User{
//			Name: "prometheus", Token: true, Allow: []string{"get nodes/metrics"},
//		}))
//		response, err := k.Client("prometheus").Get(k.URL + "/metrics/resource")
//		…
//	}
//
// [New] starts a kubelet for one test and stops it when the test ends. [Start] starts a kubelet elsewhere: in TestMain,
// in a Ginkgo suite, or in a program. Both take some tens of milliseconds. A kubelet listens on a free port of
// 127.0.0.1, so many kubelets can run at once.
//
// The kubelet is the server of package server, with TLS and its own CA. It reads its configuration as a real kubelet
// does, and sends its reviews to a review API that replaces the kube-apiserver. Clients therefore receive the same
// responses as from a real kubelet, including 401 and 403.
//
// Unlike a real kubelet, it does not cache the answers to TokenReviews and SubjectAccessReviews by default. A change of
// a user's rights therefore takes effect at once. [WithConfig] can enable the caches, and change any other field of the
// configuration.
//
// [Kubelet.Decisions] returns the authentication and authorization result of each request. [Kubelet.Checked] returns
// the access that the kubelet checked for a user. A kubelet that was started by New also logs its Decisions to the
// test.
package kubelettest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fauxlet/config"
	"fauxlet/internal/faults"
	"fauxlet/internal/faulty"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
	"fauxlet/testcerts"
)

// Kubelet is a stand-in kubelet. Its methods may be called from several goroutines at once.
//
// Methods that fail the test, for example because a user is unknown, call Fatalf of the testing.TB that was passed to
// [New]. They must therefore be called from the test's own goroutine. If the kubelet was not started by New, these
// methods panic.
type Kubelet struct {
	// URL is the URL of the secure port, for example https://127.0.0.1:41234. It is empty before Start, and if the
	// configuration has enableServer: false.
	URL string
	// ReadOnlyURL is the URL of the read-only port, for example http://127.0.0.1:41235. It is empty if the port is not
	// open; see [WithReadOnlyPort].
	ReadOnlyURL string
	// NodeName is the name of the node. It is also the resource name in the kubelet's SubjectAccessReviews.
	NodeName string
	// CA signs the serving certificate and the users' client certificates. Its certificate is in the clientCAFile of
	// the configuration. Tests can create other certificates with CA, for example an expired certificate.
	CA *testcerts.Authority
	// Pods is the store of the node's pods. A change in the store takes effect at once.
	Pods *pods.Store
	// Reviewer is the review API that answers the kubelet's TokenReviews and SubjectAccessReviews in place of a
	// kube-apiserver.
	Reviewer *reviewapi.Server
	// Faults is the set of active faults; see [Kubelet.Inject].
	Faults *faults.Set

	test      reporter
	logger    *zap.Logger
	options   *options
	config    *config.Config
	dir       string // a temporary directory with the configuration files
	faulty    *faulty.Node
	users     *users
	decisions *decisions

	mu      sync.Mutex
	closed  bool
	running func() error // stops the server; nil if no server is running
}

// New starts a kubelet for a test, and closes it when the test ends. It fails the test if an option is invalid or a
// port cannot be opened. It must be called from the test's own goroutine.
//
// Without options the node is node-1 with the pod default/nginx and the user kubelet-client. That user has a client
// certificate and the rights of the ClusterRole system:kubelet-api-admin, like a kube-apiserver. The role does not
// allow /statusz and /checkpoint. Requests without a credential are refused.
func New(t testing.TB, with ...Option) *Kubelet {
	t.Helper()
	log := &testLog{t: t}
	k, err := start(t, append([]Option{WithLogger(log.logger())}, with...))
	if err != nil {
		t.Fatalf("kubelettest: %v", err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("kubelettest: %v", err)
		}
		log.end()
	})
	return k
}

// Start starts a kubelet where there is no testing.TB: in TestMain, in a Ginkgo suite, or in a program. It returns an
// error if an option is invalid or a port cannot be opened. The caller must call [Kubelet.Close], unless Start has
// returned an error. Without options the kubelet is the same as from [New], but it logs nothing; see [WithLogger].
func Start(with ...Option) (*Kubelet, error) { return start(panicking{}, with) }

// NewUnstarted returns a kubelet that does not listen yet. The caller can change its pods, faults and users' rights
// before the first client connects, and then calls [Kubelet.Start]. The caller must call [Kubelet.Close], even if it
// does not call Start. NewUnstarted returns an error if an option is invalid.
func NewUnstarted(with ...Option) (*Kubelet, error) { return newUnstarted(panicking{}, with) }

func start(test reporter, with []Option) (*Kubelet, error) {
	k, err := newUnstarted(test, with)
	if err != nil {
		return nil, err
	}
	if err := k.Start(); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// newUnstarted creates a kubelet that does not listen yet. If there is an error, no files and no goroutines remain.
func newUnstarted(test reporter, with []Option) (_ *Kubelet, err error) {
	o := newOptions(with)
	k := &Kubelet{CA: o.ca, test: test, logger: o.logger, options: o, decisions: newDecisions()}
	if k.CA == nil {
		if k.CA, err = testcerts.NewAuthority("kubelettest-ca"); err != nil {
			return nil, err
		}
	}
	if k.Faults, err = newFaults(o); err != nil {
		return nil, err
	}
	if k.users, err = newUsers(k.CA, o); err != nil {
		return nil, err
	}
	if k.Pods, err = pods.NewStoreWith(o.executor, o.pods...); err != nil {
		return nil, fmt.Errorf("WithPods: %w", err)
	}
	if k.Reviewer, err = newReviewer(k.logger, k.CA, k.users, o); err != nil {
		return nil, err
	}
	if k.dir, err = os.MkdirTemp("", "kubelettest-"); err != nil {
		return nil, err
	}
	if k.config, err = load(k.dir, k.CA, o); err != nil {
		return nil, errors.Join(err, os.RemoveAll(k.dir))
	}
	k.NodeName = k.config.NodeName
	k.faulty = faulty.NewNode(k.NodeName, k.Faults, k.logger)
	return k, nil
}

// Start makes a kubelet from [NewUnstarted] listen and serve, and sets URL and ReadOnlyURL. A second call, or a call
// after [Kubelet.Close], is an error. Call Close also if Start returns an error.
func (k *Kubelet) Start() (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.running != nil {
		return errors.New("Start: the kubelet has been started or closed already; make another with NewUnstarted")
	}
	reviewing, stopReviews := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			stopReviews()
		}
	}()
	tokens, access, err := k.reviewClients(reviewing)
	if err != nil {
		return err
	}
	standin, err := server.New(server.Options{
		Config: k.config, Pods: k.Pods, NodeLogs: k.options.nodeLogs, TokenReviews: tokens,
		AccessReviews: access, Logger: k.logger, ReadOnce: true, Drain: -1,
		Begin: k.decisions.begin, Observe: k.decisions.observe,
		Collectors: []prometheus.Collector{k.faulty.Collector()},
		Decorators: server.Decorators{
			ClockSkew: k.faulty.ClockSkew, WrapClientCA: k.faulty.ClientCA,
			WrapHandler:   k.faulty.Handler(server.PathTarget),
			ConfigureHTTP: k.faulty.ConfigureHTTP, Usage: k.faulty.Usage,
		},
	})
	if err != nil {
		return err
	}
	listeners, err := listen(standin, k.config, k.options)
	if err != nil {
		return err
	}
	if listeners.Secure != nil {
		k.URL = "https://" + listeners.Secure.Addr().String()
		listeners.Secure = k.faulty.Listener(listeners.Secure, true)
	}
	if listeners.ReadOnly != nil {
		k.ReadOnlyURL = "http://" + listeners.ReadOnly.Addr().String()
		listeners.ReadOnly = k.faulty.Listener(listeners.ReadOnly, false)
	}
	k.faulty.FollowCaches(standin.ResetCaches)

	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- standin.Serve(ctx, listeners) }()
	k.running = func() error {
		stop()
		k.users.closeIdle()
		err := <-served
		// A handler may still wait for the answer to a review after its connection is closed. Cancel such reviews.
		stopReviews()
		patience, cancel := patient(k.test)
		defer cancel()
		if _, open := k.decisions.settled(patience); len(open) > 0 {
			err = errors.Join(err, fmt.Errorf("Close: these requests do not end; this is a bug in fauxlet:%s",
				list(open, request)))
		}
		return err
	}
	return nil
}

// Close stops the kubelet. It closes the ports, all open connections, and the idle connections of clients from
// [Kubelet.Client]. It also ends requests in progress. When Close returns, all of the kubelet's goroutines have ended
// and its temporary files are removed. Decisions and reviews can still be read. A second call does nothing.
//
// To make a node unreachable for a while, inject a [Fault] of the kind "connection-refused" instead.
func (k *Kubelet) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	var err error
	if k.running != nil {
		err = k.running()
	}
	return errors.Join(err, os.RemoveAll(k.dir))
}

// reporter has the methods of [testing.TB] that report invalid arguments and timeouts.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// panicking is the reporter of a kubelet that was not started by New. It panics instead of failing a test.
type panicking struct{}

func (panicking) Helper() {}

func (panicking) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
