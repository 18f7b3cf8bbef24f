// Package kubelettest is a stand-in kubelet inside a Go test, as net/http/httptest is a web server inside one: for tests of
// what talks to kubelets, be it a scraper of metrics, a collector of logs, an authorizer or a client of exec.
//
//	func TestScraper(t *testing.T) {
//		k := kubelettest.New(t, kubelettest.WithUser(kubelettest.User{Name: "prometheus", Token: true, May: []string{"get nodes/metrics"}}))
//		response, err := k.Client("prometheus").Get(k.URL + "/metrics/resource")
//		…
//	}
//
// [New] starts it in tens of milliseconds, on free ports of loopback, and it is gone when the test is over. It is the Server of
// package server, over TLS, with a CA of its own, a configuration that is read as a kubelet reads its own, and a review API
// in the place of a kube-apiserver, which the stand-in asks over HTTPS. So what a client meets is what it would meet at a
// kubelet: 401, 403 and their words included. Many may run at once.
//
// Unlike a kubelet's, its default configuration remembers no answer of the reviewer, so that each request is asked about and
// a change of rights holds at once. [WithConfig] changes that and anything else.
//
// A test learns what happened from [Kubelet.Decisions] (what the kubelet made of each request) and [Kubelet.Asked] (what it
// asked about a user). It is also logged to the test.
package kubelettest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"fauxlet/internal/faults"
	"fauxlet/internal/faulty"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
	"fauxlet/testcerts"
)

// Kubelet is a stand-in that serves. Its methods may be called by many goroutines at once; those that fail the test do so
// only as [testing.T.FailNow] can, from the test's own.
type Kubelet struct {
	// URL is that of the secure port, as in https://127.0.0.1:41234. Empty under enableServer: false.
	URL string
	// ReadOnlyURL is that of the read-only port, as in http://127.0.0.1:41235. Empty where it is off, which it is but for
	// [WithReadOnlyPort].
	ReadOnlyURL string
	// NodeName is the node's, which reviews name.
	NodeName string
	// CA has signed the serving certificate and the users' certificates, and is the configuration's clientCAFile. A test
	// mints what else it needs with it: a client certificate that has expired, say.
	CA *testcerts.Authority
	// Pods are the pods of the node. Those put into it are there at once.
	Pods *pods.Store
	// Reviewer answers what the kubelet asks about tokens and users. It can be made to fail ([review.Server.SetFaults]).
	Reviewer *reviewapi.Server
	// Faults are what goes wrong on purpose at this moment; see [Kubelet.Inject].
	Faults *faults.Set

	t         testing.TB
	users     *users
	decisions *decisions
	close     func() error
}

// New starts a stand-in, which is stopped when the test is over. It fails the test where an option does not make sense.
//
// Without options, its node is node-1, its one pod default/nginx, and its one user kubelet-client, who has a client
// certificate and may do anything, as a kube-apiserver may. Nobody is let in without a credential.
func New(t testing.TB, with ...Option) *Kubelet {
	t.Helper()
	log := newTestLog(t)
	k, err := start(t, log.logger(), newOptions(with))
	if err != nil {
		t.Fatalf("kubelettest: %v", err)
	}
	t.Cleanup(func() {
		k.Close()
		log.end()
	})
	return k
}

// Close stops the stand-in before the test is over: connections are refused from then on, those that are open are cut, and
// its goroutines are gone when Close returns. What it has decided and asked can still be looked at. A node that is to come
// back has the fault [faults.ConnectionRefused] for a while instead.
func (k *Kubelet) Close() {
	k.t.Helper()
	if err := k.close(); err != nil {
		k.t.Errorf("kubelettest: %v", err)
	}
}

// start makes all parts and has them run; nothing is left of them where there is an error.
func start(t testing.TB, logger *zap.Logger, o *options) (_ *Kubelet, err error) {
	k := &Kubelet{CA: o.ca, t: t, decisions: newDecisions()}
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
	if k.Pods, err = pods.NewStore(o.pods...); err != nil {
		return nil, fmt.Errorf("WithPods: %w", err)
	}
	cfg, err := load(t.TempDir(), k.CA, o)
	if err != nil {
		return nil, err
	}
	k.NodeName = cfg.NodeName

	node := faulty.NewNode(cfg.NodeName, k.Faults, logger)
	reviews, err := startReviews(logger, k.users, cfg, node, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = reviews.stop()
		}
	}()
	k.Reviewer = reviews.server
	standin, err := server.New(server.Options{
		Config: cfg, Pods: k.Pods, NodeLogs: o.nodeLogs,
		TokenReviews: reviews.tokens, AccessReviews: reviews.access,
		Collectors: []prometheus.Collector{node.Collector()},
		Logger:     logger, ReadOnce: true, Drain: -1, Begin: k.decisions.begin, Observe: k.decisions.observe,
		Decorators: server.Decorators{
			ClockSkew: node.ClockSkew, WrapClientCA: node.ClientCA, WrapHandler: node.Handler(server.PathTarget),
			ConfigureHTTP: node.ConfigureHTTP, Usage: node.Usage,
		},
	})
	if err != nil {
		return nil, err
	}
	listeners, err := listen(standin, cfg, o)
	if err != nil {
		return nil, err
	}
	if listeners.Secure != nil {
		k.URL = "https://" + listeners.Secure.Addr().String()
		listeners.Secure = node.Listener(listeners.Secure, true)
	}
	if listeners.ReadOnly != nil {
		k.ReadOnlyURL = "http://" + listeners.ReadOnly.Addr().String()
		listeners.ReadOnly = node.Listener(listeners.ReadOnly, false)
	}
	node.FollowCaches(standin.ResetCaches)

	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- standin.Serve(ctx, listeners) }()
	k.close = sync.OnceValue(func() error {
		stop()
		k.users.closeIdle()
		err := <-served
		// A handler may outlive its connection, and must not wait for an answer of the reviewer then.
		reviews.cancel()
		patience, cancel := patient(t)
		defer cancel()
		if _, underWay := k.decisions.settled(patience); len(underWay) > 0 {
			err = errors.Join(err, fmt.Errorf("Close: these requests do not end, which is a bug of fauxlet:%s", list(underWay, request)))
		}
		return errors.Join(err, reviews.stop())
	})
	return k, nil
}
