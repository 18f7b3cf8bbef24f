package offline_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/pods"
	"fauxlet/internal/vectors"
	"fauxlet/kubelettest"
)

// TestWhatIfPredictsOtherConfigurations uses the table in docs/claims.md, in which each column is a configuration. It
// takes the Decision of a kubelet in one configuration, and predicts the status in each other configuration with
// WhatIf. The prediction must be the status in the table. Without a Reviewer, the prediction may also be an error.
func TestWhatIfPredictsOtherConfigurations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var kubelets []*kubelettest.Kubelet
	var whatIfs []offline.WhatIf
	for _, settings := range claims.configurations {
		running := w.run(t, settings, claimsRBAC, tokens)
		store, err := pods.NewStore(nginx())
		check(t, err)
		kubelets = append(kubelets, running)
		whatIfs = append(whatIfs, offline.WhatIf{Config: w.load(t, settings), Pods: store})
	}
	total, unknown := 0, 0
	for row, claim := range claims.rows {
		for from, running := range kubelets {
			d := w.decision(t, running, claim.client)
			for to, settings := range claims.configurations {
				set := changes(whatIfs[from], w.inFile(settings))
				if set == nil {
					continue // what-if can remove the client CA, but not add one
				}
				for _, known := range []bool{false, true} {
					whatIf, sent := whatIfs[from], (*offline.Request)(nil)
					if known { // the demo also has a reviewer and the original request
						whatIf.Reviewer = running.Reviewer
						sent = &offline.Request{Target: "/pods", Header: http.Header{}}
						for _, header := range claim.client.Headers {
							key, value, _ := strings.Cut(header, ": ")
							sent.Header.Add(key, value)
						}
					}
					explanation, err := whatIf.Explain(t.Context(), d, sent, set)
					check(t, err)
					name := fmt.Sprintf("row %d, from column %d to %d, known %t", row+1, from+1, to+1, known)
					total++
					switch want := claim.statuses[to]; {
					case explanation.Outcome == explain.Error && !known:
						unknown++
						if explanation.Status != 401 && explanation.Status != 500 {
							t.Errorf("%s: status %d without a review result, want 401 or 500", name, explanation.Status)
						}
					case explanation.Status != want &&
						!(!known && len(claim.client.Headers) > 0 && d.By() == authchain.MethodX509):
						t.Errorf("%s: status %d, want %d: %s", name, explanation.Status, want, explanation.Reason)
					}
				}
			}
		}
	}
	if total < 200 || unknown == 0 || unknown > total/3 {
		t.Errorf("%d of %d predictions have no review result, want at least 200 predictions, and up to a third without",
			unknown, total)
	}
}

// load writes the settings to a configuration file and loads the file.
func (w *world) load(t *testing.T, settings vectors.Settings) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubelet.yaml")
	text, err := w.inFile(settings).YAML()
	check(t, err)
	check(t, os.WriteFile(file, text, 0o600))
	flags := config.NewFlags()
	check(t, flags.Set("config", file))
	c, err := flags.Load()
	check(t, err)
	return c
}

// The function "changes" returns the fields, with their new values, that must change to turn the current configuration
// of the argument "whatIf" into the given settings. It returns nil if what-if cannot change one of these fields.
func changes(whatIf offline.WhatIf, settings vectors.Settings) map[string]string {
	set := map[string]string{}
	for _, s := range whatIf.Settings() {
		want, ok := settings[s.Field]
		if !ok {
			want = defaults[s.Field]
		}
		value := fmt.Sprint(want)
		if !slices.Contains(s.Values, value) {
			return nil
		}
		if value != s.Values[0] {
			set[s.Field] = value
		}
	}
	return set
}

// decision sends GET /pods to a running kubelet, with the credential of the given client, and returns the kubelet's
// Decision.
func (w *world) decision(t *testing.T, running *kubelettest.Kubelet, client vectors.Client) *authchain.Decision {
	t.Helper()
	request := offline.Request{Method: http.MethodGet, Target: "/pods", Header: http.Header{}}
	for _, header := range client.Headers {
		key, value, _ := strings.Cut(header, ": ")
		request.Header.Add(key, value)
	}
	var certificate *tls.Certificate
	if pair := w.pair(t, client); pair != nil {
		made := pair.TLS()
		certificate = &made
	}
	send(t, running, certificate, request)
	decisions := running.Decisions()
	return decisions[len(decisions)-1]
}

func TestInvalidSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	running := w.run(t, nil, claimsRBAC, tokens)
	whatIf := offline.WhatIf{Config: w.load(t, nil)}
	d := w.decision(t, running, vectors.Client{})
	for _, test := range []struct {
		set  map[string]string
		want string
	}{
		{map[string]string{"port": "1"}, "port: what-if cannot change this field; it can change " +
			"authentication.x509.clientCAFile, authentication.webhook.enabled, authentication.anonymous.enabled, " +
			"authorization.mode"},
		{map[string]string{"authorization.mode": "AlwaysDeny"},
			`authorization.mode: "AlwaysDeny" is not one of ["Webhook" "AlwaysAllow"]`},
		{map[string]string{"authentication.x509.clientCAFile": "/etc/passwd"},
			`authentication.x509.clientCAFile: "/etc/passwd" is not one of`},
		{map[string]string{"authentication.anonymous.enabled": "yes"},
			`authentication.anonymous.enabled: "yes" is not one of ["false" "true"]`},
	} {
		if _, err := whatIf.Explain(t.Context(), d, nil, test.set); err == nil ||
			!strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("changing the settings %v: error %v, want %s", test.set, err, test.want)
		}
	}
	for _, d := range []*authchain.Decision{authchain.FailedHandshake("192.0.2.1:1", "EOF"),
		{Path: "/nothing", Status: 404}} {
		if _, err := whatIf.Explain(t.Context(), d, nil, nil); err == nil ||
			!strings.Contains(err.Error(), "was not authenticated") {
			t.Errorf("explaining the Decision %+v: error %v, want \"was not authenticated\"", d, err)
		}
	}
}
