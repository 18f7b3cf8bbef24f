package offline_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
)

// openKubelet returns an offline kubelet that needs no reviews, because anonymous clients may do everything.
func openKubelet(t *testing.T, flags map[string]string) *offline.Kubelet {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubelet.yaml")
	check(t, os.WriteFile(file, []byte(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
`), 0o600))
	f := config.NewFlags()
	check(t, f.Set("config", file))
	check(t, f.Set("hostname-override", "node-1"))
	for name, value := range flags {
		check(t, f.Set(name, value))
	}
	c, err := f.Load()
	check(t, err)
	k, err := offline.New(offline.Options{Config: c})
	check(t, err)
	return k
}

// TestExplainEndsOnceTheResponseBegins checks that Explain returns although the response never ends, as for a stream or
// a followed log, and that no goroutine is left behind.
func TestExplainEndsOnceTheResponseBegins(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	k := openKubelet(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, test := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/containerLogs/shop/web/main?follow=true", 200},
		{"GET", "/containerLogs/shop/web/main", 200},
		{"POST", "/run/shop/other/main?cmd=id", 200},
		{"POST", "/run/shop/other/8a5a2b1c-0000-4000-8000-000000000005/main?cmd=id", 200},
		{"GET", "/exec/shop/web/main?command=id&output=1", 101},
		{"POST", "/portForward/shop/web", 101},
	} {
		e, err := k.Explain(ctx, offline.Request{Method: test.method, Target: test.target})
		check(t, err)
		if e.Outcome != explain.Allowed || e.Status != test.status {
			t.Errorf("%s %s: outcome %s, status %d, want allowed, %d: %+v", test.method, test.target, e.Outcome,
				e.Status, test.status, e.Stage(explain.StageResponse))
		}
	}
	if ctx.Err() != nil {
		t.Error("Explain waited until the timeout")
	}
}

func TestClosedPortHasNoRequest(t *testing.T) {
	for _, test := range []struct {
		flags   map[string]string
		request offline.Request
		why     string
	}{
		{nil, offline.Request{Target: "/pods", ReadOnly: true}, "readOnlyPort is 0"},
		{map[string]string{"enable-server": "false"}, offline.Request{Target: "/pods"}, "enableServer is false"},
	} {
		e, err := openKubelet(t, test.flags).Explain(t.Context(), test.request)
		if err != nil || e.Outcome != explain.NoRequest || !strings.Contains(e.Reason, test.why) {
			t.Errorf("outcome %s, reason %q, error %v; want no request, %q", e.Outcome, e.Reason, err, test.why)
		}
	}
	e, err := openKubelet(t, map[string]string{"read-only-port": "10255"}).Explain(t.Context(),
		offline.Request{Target: "/pods", ReadOnly: true})
	if err != nil || e.Outcome != explain.NoAuthentication || e.Status != 200 {
		t.Errorf("open read-only port: outcome %s, status %d, error %v", e.Outcome, e.Status, err)
	}
}

func TestInvalidTargets(t *testing.T) {
	k := openKubelet(t, nil)
	for _, target := range []string{"", "pods", "https://node/pods", "/%zz"} {
		if _, err := k.Decide(t.Context(), offline.Request{Target: target}); err == nil ||
			!strings.Contains(err.Error(), "not a path") {
			t.Errorf("request target %q: error %v, want \"not a path\"", target, err)
		}
	}
	if _, err := k.Decide(t.Context(), offline.Request{Target: "/pods", Method: "GE T"}); err == nil {
		t.Error("a request with a space in its HTTP method has no error")
	}
}
