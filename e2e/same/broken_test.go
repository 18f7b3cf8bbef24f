package same

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/vectors"
)

// TestComparisonDetectsChangedFauxlet builds fauxlet with one deliberate error in its source. The comparison must
// report the error.
func TestComparisonDetectsChangedFauxlet(t *testing.T) {
	t.Parallel()
	programs.Slow(t)
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	clients := newClients(t, corpus)
	for _, test := range []struct{ name, file, from, to, aspect string }{
		{"a route's subresource", "authchain/attributes.go", `{"/stats", []string{"stats"}}`,
			`{"/stats", []string{"metrics"}}`, "\n  reviews: "},
		{"a status", "server/logs.go", "http.StatusUnprocessableEntity", "http.StatusBadRequest", "\n  status: "},
		{"a header", "server/errors.go", `w.Header().Set("Allow", response.allow)`, `_ = response.allow`,
			"\n  header Allow: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			changed := configuration{fauxlet: buildChanged(t, test.file, test.from, test.to)}
			log := &errorLog{TB: t}
			c := newComparison(log, "defaults", nil, startSides(t, changed, clients))
			talks := ofVectors(t, "defaults", corpus)
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(talks), func(i, j int) { talks[i], talks[j] = talks[j], talks[i] })
			for i := range talks {
				c.run(talks[i:i+1], changed)
				said := slices.IndexFunc(log.errors,
					func(text string) bool { return strings.Contains(text, test.aspect) })
				if said >= 0 { // the test needs only one report of the deliberate error
					t.Logf("with %s changed, after %d requests, the comparison reports:\n%s", test.name, c.sent,
						log.errors[said])
					return
				}
			}
			t.Fatalf("the comparison reports %q, want a report with %q", log.errors, strings.TrimSpace(test.aspect))
		})
	}
}

// errorLog collects the errors of a comparison. The errors do not fail the test.
type errorLog struct {
	testing.TB
	errors []string
}

func (l *errorLog) Errorf(format string, args ...any) {
	l.errors = append(l.errors, fmt.Sprintf(format, args...))
}

func (l *errorLog) Fail() { l.errors = append(l.errors, "Fail") }

// buildChanged builds fauxlet after replacing text in one source file.
func buildChanged(t *testing.T, file, from, to string) string {
	t.Helper()
	original, err := filepath.Abs(filepath.Join("../..", file))
	expect.NoError(t, err)
	text, err := os.ReadFile(original)
	expect.NoError(t, err)
	if strings.Count(string(text), from) != 1 {
		t.Fatalf("%s: %q occurs %d times, want once; change something else", file, from,
			strings.Count(string(text), from))
	}
	dir := t.TempDir()
	changed, overlay, path := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json"),
		filepath.Join(dir, "fauxlet")
	expect.NoError(t, os.WriteFile(changed, []byte(strings.Replace(string(text), from, to, 1)), 0o644))
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	expect.NoError(t, err)
	expect.NoError(t, os.WriteFile(overlay, replace, 0o644))
	build := exec.Command("go", "build", "-overlay", overlay, "-o", path, "./cmd/fauxlet")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}
