package same

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"fauxlet/e2e/internal/expect"
)

// divergence is an allowed difference between the answers of fauxlet and of the kubelet's own server, as listed in
// divergences.json.
type divergence struct {
	Requests string   `json:"requests"` // regular expression for the whole ID of a request
	Differs  []string `json:"differs"`  // any of: status, body, reviews, connection, header NAME
	Fauxlet  int      `json:"fauxlet"`  // status of fauxlet's response; with another status no difference is allowed
	Reason   string   `json:"reason"`

	matches *regexp.Regexp
	mu      sync.Mutex      // guards seen
	seen    map[string]bool // seen contains the entries of Differs that occurred
}

type divergences []*divergence

func readDivergences(t *testing.T) divergences {
	t.Helper()
	file, err := os.Open("divergences.json")
	expect.NoError(t, err)
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	var all divergences
	expect.NoError(t, decoder.Decode(&all))
	for _, d := range all {
		if d.Reason == "" || d.Fauxlet == 0 || len(d.Differs) == 0 {
			t.Fatalf("divergences.json: %q: set reason, fauxlet and differs", d.Requests)
		}
		d.matches, err = regexp.Compile("^(?:" + d.Requests + ")$")
		expect.NoError(t, err)
		d.seen = map[string]bool{}
	}
	return all
}

// allow reports whether divergences.json allows a difference in the given aspect of two answers. It allows no
// difference if the kubelet's answer is a 401 or 403.
func (all divergences) allow(id, aspect string, want, got observation) bool {
	if want.Code == http.StatusUnauthorized || want.Code == http.StatusForbidden {
		return false
	}
	allowed := false
	for _, d := range all {
		if got.Code == d.Fauxlet && slices.Contains(d.Differs, aspect) && d.matches.MatchString(id) {
			d.mu.Lock()
			d.seen[aspect], allowed = true, true
			d.mu.Unlock()
		}
	}
	return allowed
}

// The method "gone" returns the divergences for which at least one entry of Differs did not occur.
func (all divergences) gone() divergences {
	return slices.DeleteFunc(slices.Clone(all), func(d *divergence) bool { return len(d.seen) == len(d.Differs) })
}

func (d *divergence) String() string {
	return strconv.Quote(d.Requests) + ", " + strings.Join(d.Differs, ", ")
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
