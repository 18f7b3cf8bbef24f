package tools

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/kubelet"
)

// agents is the folder with the published RBAC manifests of agents, and with the requests that each agent sends. The
// table in docs/least-privilege.md is made from these files.
const agents = "../../internal/leastprivilege/testdata/agents"

// recordedRequests returns the requests of an agent, such as "GET /pods", sorted.
func recordedRequests(t testing.TB, agent string) (requests []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(agents, agent+".txt"))
	expect.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			requests = append(requests, line)
		}
	}
	slices.Sort(requests)
	return requests
}

// withAdmin returns the arguments with which a stand-in opens its admin API. The kubelet's own server has none.
func withAdmin() []string {
	if kubelet.UnderTest() != "fauxlet" {
		return nil
	}
	return []string{"--admin-address=127.0.0.1:0", "--admin-token-file="}
}

// assertRecordedRequests checks that a user has sent exactly the recorded requests of an agent. The stand-in must have
// been started with the arguments of withAdmin.
func assertRecordedRequests(t testing.TB, k *kubelet.Kubelet, user, agent string) {
	t.Helper()
	if kubelet.UnderTest() != "fauxlet" {
		return
	}
	var ready struct{ Admin string }
	data, err := os.ReadFile(filepath.Join(k.Dir, "fauxlet", "ready.json"))
	expect.NoError(t, err)
	expect.NoError(t, json.Unmarshal(data, &ready))
	answer, err := http.Get("http://" + ready.Admin + "/api/rbac?" + url.Values{"user": {user}}.Encode())
	expect.NoError(t, err)
	defer answer.Body.Close()
	var seen struct {
		Error    string
		Requests []struct{ Method, Path string }
	}
	expect.NoError(t, json.NewDecoder(answer.Body).Decode(&seen))
	var got []string
	for _, r := range seen.Requests {
		got = append(got, r.Method+" "+r.Path)
	}
	slices.Sort(got)
	if want := recordedRequests(t, agent); !slices.Equal(got, want) {
		t.Errorf("the requests of %s are %q %s, but %s.txt in %s has %q", user, got, seen.Error, agent, agents, want)
	}
}
