package offline_test

import (
	"crypto/tls"
	"errors"
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

// TestWhatIfOfADecision: of a request that a kubelet has answered, and of which there is the Decision alone, it is told what
// the kubelets of the other columns of the table answered, wherever the Decision knows enough; where it does not, that is
// said, and nobody is let in.
func TestWhatIfOfADecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var kubelets []*kubelettest.Kubelet
	var suppositions []offline.WhatIf
	for _, settings := range claims.configurations {
		running := w.run(t, settings, anonymousToo, tokens)
		store, err := pods.NewStore(nginx())
		check(t, err)
		kubelets = append(kubelets, running)
		suppositions = append(suppositions, offline.WhatIf{Config: w.load(t, settings), Pods: store})
	}
	asked, unknown := 0, 0
	for row, claim := range claims.rows {
		for from, running := range kubelets {
			d := w.decision(t, running, claim.client)
			for to, settings := range claims.configurations {
				set := differing(suppositions[from], w.inFile(settings))
				if set == nil {
					continue // a CA that the kubelet does not have cannot be supposed
				}
				for _, known := range []bool{false, true} {
					whatIf, sent := suppositions[from], (*offline.Request)(nil)
					if known { // as in a demo
						whatIf.Reviewer = running.Reviewer
						sent = &offline.Request{Target: "/pods", Header: http.Header{}}
						for _, header := range claim.client.Headers {
							key, value, _ := strings.Cut(header, ": ")
							sent.Header.Add(key, value)
						}
					}
					road, err := whatIf.Explain(t.Context(), d, sent, set)
					check(t, err)
					name := fmt.Sprintf("row %d, from column %d to %d, known %t", row+1, from+1, to+1, known)
					asked++
					switch want := claim.statuses[to]; {
					case road.Outcome == explain.Error && !known:
						unknown++
						if road.Status != 401 && road.Status != 500 {
							t.Errorf("%s: nobody knows, and it is answered %d", name, road.Status)
						}
					case road.Status != want && !(!known && len(claim.client.Headers) > 0 && d.By() == authchain.MethodX509):
						t.Errorf("%s: %d, want %d: %s", name, road.Status, want, road.Reason)
					}
				}
			}
		}
	}
	if asked < 200 || unknown == 0 || unknown > asked/3 {
		t.Errorf("%d were asked, and of %d nothing is known", asked, unknown)
	}
}

// load is the configuration of settings.
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

// differing are the switches by which a kubelet has other settings, nil where it cannot be supposed to have them.
func differing(whatIf offline.WhatIf, settings vectors.Settings) map[string]string {
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

// decision sends GET /pods, and gives what was decided.
func (w *world) decision(t *testing.T, running *kubelettest.Kubelet, client vectors.Client) *authchain.Decision {
	t.Helper()
	asked := offline.Request{Method: http.MethodGet, Target: "/pods", Header: http.Header{}}
	for _, header := range client.Headers {
		key, value, _ := strings.Cut(header, ": ")
		asked.Header.Add(key, value)
	}
	var certificate *tls.Certificate
	if pair := w.pair(t, client); pair != nil {
		made := pair.TLS()
		certificate = &made
	}
	send(t, running, certificate, asked)
	decisions := running.Decisions()
	return decisions[len(decisions)-1]
}

// TestSwitches: what cannot be supposed is named, with what can be.
func TestSwitches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	running := w.run(t, nil, anonymousToo, tokens)
	whatIf := offline.WhatIf{Config: w.load(t, nil)}
	d := w.decision(t, running, vectors.Client{})
	for _, test := range []struct {
		set  map[string]string
		want string
	}{
		{map[string]string{"port": "1"}, "port: what-if cannot change this field; it can change authentication.x509.clientCAFile, authentication.webhook.enabled, authentication.anonymous.enabled, authorization.mode"},
		{map[string]string{"authorization.mode": "AlwaysDeny"}, `authorization.mode: "AlwaysDeny" is not one of ["Webhook" "AlwaysAllow"]`},
		{map[string]string{"authentication.x509.clientCAFile": "/etc/passwd"}, `authentication.x509.clientCAFile: "/etc/passwd" is not one of`},
		{map[string]string{"authentication.anonymous.enabled": "yes"}, `authentication.anonymous.enabled: "yes" is not one of ["false" "true"]`},
	} {
		if _, err := whatIf.Explain(t.Context(), d, nil, test.set); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%v: %v, want %s", test.set, err, test.want)
		}
	}
	for _, d := range []*authchain.Decision{authchain.FailedHandshake("192.0.2.1:1", "EOF"), {Path: "/nothing", Status: 404}} {
		if _, err := whatIf.Explain(t.Context(), d, nil, nil); !errors.Is(err, offline.ErrNoAuthentication) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}
