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
// [New] starts a kubelet for one test and stops it when the test ends. [Start] starts a kubelet elsewhere: in
// TestMain, in a Ginkgo suite, or in a program. Both take tens of milliseconds and listen on free ports of
// 127.0.0.1. Many kubelets may run at once.
//
// The kubelet is the server of package server, with TLS, a CA of its own, a configuration that is read as a kubelet
// reads it, and a review API in place of a kube-apiserver. So clients receive the same responses as from a kubelet,
// including 401 and 403.
//
// Unlike in a kubelet, reviews are not cached by default: each request is reviewed again, and a change of rights
// takes effect at once. [WithConfig] changes that and any other field.
//
// [Kubelet.Decisions] returns the authentication and authorization result of each request. [Kubelet.Checked] returns
// the access that the kubelet checked for a user. A kubelet of New also logs its Decisions to the test.
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

// Kubelet is a stand-in kubelet. Many goroutines may call its methods at once.
//
// If a method is called with invalid arguments, for example the name of an unknown user, it fails the test that was
// passed to [New] with [testing.T.FailNow]. Such methods must therefore be called from the test's own goroutine. A
// kubelet without a test panics instead.
type Kubelet struct {
	// URL is the URL of the secure port, as in https://127.0.0.1:41234. It is empty with enableServer: false.
	URL string
	// ReadOnlyURL is the URL of the read-only port, as in http://127.0.0.1:41235. It is empty without
	// [WithReadOnlyPort].
	ReadOnlyURL string
	// NodeName is the name of the node. SubjectAccessReviews contain it as the resource's name.
	NodeName string
	// CA signs the serving certificate and the users' client certificates, and is the configuration's clientCAFile.
	// Tests can mint other certificates with it, for example an expired one.
	CA *testcerts.Authority
	// Pods is the store of the node's pods. Changes take effect at once.
	Pods *pods.Store
	// Reviewer answers the kubelet's TokenReviews and SubjectAccessReviews.
	Reviewer *reviewapi.Server
	// Faults are the active faults; see [Kubelet.Inject].
	Faults *faults.Set

	test      reporter
	logger    *zap.Logger
	options   *options
	config    *config.Config
	dir       string // contains the configuration files
	faulty    *faulty.Node
	users     *users
	decisions *decisions

	mu      sync.Mutex
	closed  bool
	running func() error // stops what Start started; nil if nothing is running
}

// New starts a kubelet for a test, and stops it when the test ends. It fails the test if an option is invalid.
//
// Without options the node is node-1 with the pod default/nginx and the user kubelet-client. That user has a client
// certificate and is allowed everything, like a kube-apiserver. Requests without a credential are refused.
func New(t testing.TB, with ...Option) *Kubelet {
	t.Helper()
	log := newTestLog(t)
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

// Start starts a kubelet without a test: in TestMain, in a Ginkgo suite, in a program. The caller must call
// [Kubelet.Close]. Without options the kubelet is the same as from [New], except that it logs nothing; see
// [WithLogger].
func Start(with ...Option) (*Kubelet, error) { return start(panicking{}, with) }

// NewUnstarted returns a kubelet that does not listen yet, for a caller that wants to change its pods, its faults or
// its users' rights first. The caller must call [Kubelet.Start], and [Kubelet.Close] in any case.
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

// newUnstarted makes all parts of a kubelet. If it fails, it removes all files and stops all goroutines that it has
// started.
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

// Start makes a kubelet of [NewUnstarted] listen and serve, and sets its URLs. It may be called once.
func (k *Kubelet) Start() (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.running != nil {
		return errors.New("Start: the kubelet has been started or closed already")
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
		// A handler may still wait for the reviewer after its connection is closed. Cancel its reviews.
		stopReviews()
		patience, cancel := patient(k.test)
		defer cancel()
		if _, open := k.decisions.settled(patience); len(open) > 0 {
			err = errors.Join(err, fmt.Errorf("Close: a bug in fauxlet: these requests do not end:%s",
				list(open, request)))
		}
		return err
	}
	return nil
}

// Close stops the kubelet. It closes the ports and all open connections. All of the kubelet's goroutines have ended
// when Close returns. Decisions and reviews can still be read. A second call does nothing.
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

// reporter is the part of [testing.TB] by which methods report invalid arguments and timeouts.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// panicking is the reporter of a kubelet without a test. It panics.
type panicking struct{}

func (panicking) Helper() {}

func (panicking) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
