package check

import (
	"context"
	"errors"
	"slices"
	"testing"

	"fauxlet/conformance"
)

// TestOlderVersions checks which checks do not apply to a kube-apiserver of an older version.
func TestOlderVersions(t *testing.T) {
	since130 := []string{"streams.exec-websocket"}
	since131 := []string{"streams.port-forward-websocket"}
	since136 := []string{"streams.exec-websocket-to-kubelet", "streams.port-forward-websocket-to-kubelet"}
	for version, want := range map[string][]string{
		"v1.29.0":        slices.Concat(since130, since136[:1], since131, since136[1:]),
		"v1.30.14":       slices.Concat(since136[:1], since131, since136[1:]),
		"v1.34.4":        since136,
		"v1.35.9+k3s1":   since136,
		"v1.36.0-beta.0": nil,
		"v1.37.2":        nil,
		// The version of a kube-apiserver that was built without a version is not known.
		"v0.0.0-master+$Format:%H$": nil,
		"":                          nil,
	} {
		var got []string
		for _, c := range Checks() {
			ran := func(context.Context, *run, *finding) error { return nil }
			var reason notApplicable
			if err := c.unlessOlder(version, ran)(t.Context(), nil, nil); errors.As(err, &reason) {
				got = append(got, c.ID)
				if want := "this check is about a feature that kube-apiserver has since " + c.Since +
					"; this one is " + version; string(reason) != want {
					t.Errorf("%s: reason %q, want %q", c.ID, reason, want)
				}
			} else if err != nil {
				t.Errorf("%s: %v", c.ID, err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: these checks do not apply: %q, want %q", version, got, want)
		}
	}
}

// TestTranslatedForAllNodes checks an API server that translates WebSockets even for Nodes whose kubelets could do so.
func TestTranslatedForAllNodes(t *testing.T) {
	t.Parallel()
	all := []string{"streams.exec-websocket-to-kubelet", "streams.port-forward-websocket-to-kubelet"}
	var runs []*run
	for range all {
		runs = append(runs, startAPIServer(t, "translates WebSockets for all Nodes"))
	}
	for _, result := range runAll(t, runs, all) {
		result.check(t, conformance.Skipped, "kube-apiserver translates WebSockets for all Nodes; its feature gate "+
			"ExtendWebSocketsToKubelet or NodeDeclaredFeatures is off")
		if !result.NotApplicable {
			t.Errorf("the check is undecided: %+v", result)
		}
	}
}
