package symptoms

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// These constants name the tests that reproduce errors. They are the possible values of Entry.Proof.
const (
	// ofGo reproduces errors between a Go client and a Go server, because kube-apiserver, kubelets and scrapers are
	// written in Go.
	ofGo = "internal/symptoms TestErrorsOfGo"
	// ofKubelets reproduces errors in the responses and in the log of a stand-in kubelet.
	ofKubelets = "internal/symptoms TestErrorsOfKubelets"
	// ofKubectl reproduces errors in the output of kubectl, with a kube-apiserver and a stand-in kubelet.
	ofKubectl = "e2e/cluster TestKubectlErrorsAreRecognized"
	// ofFaults reproduces errors in the output of kubectl, with a fault injected into a stand-in kubelet.
	// docs/faults.md quotes these errors.
	ofFaults = "e2e/cluster TestKubectlErrorsOfFaults"
	// ofKonnectivity reproduces errors in the output of kubectl, with a kube-apiserver that uses konnectivity.
	ofKonnectivity = "e2e/cluster TestKonnectivity"
)

// reproduction is one way to cause an error. The function "reproduce" causes the error and returns its text.
type reproduction struct {
	// id is the ID of the symptom that Diagnose must find.
	id string
	// variant is the name of the reproduction. It is needed only if the symptom has several reproductions.
	variant string
	// The field "values" has the variable parts of the error that Diagnose must find.
	values    map[string]string
	reproduce func(*testing.T) string
}

// prove runs the reproductions, and checks that Diagnose finds the expected symptom, and no other, in each error. It
// also checks that every symptom with the given Proof has a reproduction.
func prove(t *testing.T, proof string, reproductions []reproduction) {
	proved := map[string]bool{}
	for _, r := range reproductions {
		proved[r.id] = true
		t.Run(strings.TrimSuffix(r.id+"/"+r.variant, "/"), func(t *testing.T) {
			text := r.reproduce(t)
			d := Diagnose(text)
			if len(d.Findings) != 1 || d.Findings[0].ID != r.id {
				var ids []string
				for _, f := range d.Findings {
					ids = append(ids, f.ID)
				}
				t.Fatalf("%q is recognized as %q, want %s", text, ids, r.id)
			}
			for name, value := range r.values {
				if d.Findings[0].Values[name] != value {
					t.Errorf("%q: the value of {%s} is %q, want %q", text, name, d.Findings[0].Values[name], value)
				}
			}
		})
	}
	for _, s := range Table() {
		if s.Proof == proof && !proved[s.ID] {
			t.Errorf("%s: no test reproduces the symptom", s.ID)
		}
	}
}

// TestErrorsOfFaults checks that Diagnose recognizes every error in docs/faults.md. Other tests prove that kubectl
// prints these errors.
func TestErrorsOfFaults(t *testing.T) {
	const path = "../../docs/faults.md"
	page, err := os.ReadFile(path)
	check(t, err)
	var reproductions []reproduction
	for _, cell := range regexp.MustCompile("`[Ee]rror[ :][^`]*`").FindAllString(string(page), -1) {
		text := strings.NewReplacer("`", "", "NODE:", "192.0.2.7:", "not …", "not node-1", "after …",
			"after 2026-01-01T00:00:00Z").Replace(cell)
		d := Diagnose(text)
		if len(d.Findings) != 1 {
			t.Errorf("%s: the error %q has the findings %+v, want exactly one", path, text, d.Findings)
			continue
		}
		reproductions = append(reproductions,
			reproduction{id: d.Findings[0].ID, variant: text, reproduce: func(*testing.T) string { return text }})
	}
	prove(t, ofFaults, reproductions)
}
