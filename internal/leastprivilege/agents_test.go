package leastprivilege

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"fauxlet/internal/reviewapi"
)

var update = flag.Bool("update", false, "write the table in docs/least-privilege.md")

// publishedAgent is an agent in testdata/agents: the RBAC manifests that are published with it, and its requests.
type publishedAgent struct {
	name, manifests, requestsFrom string // what it is, and where its manifests and its requests are from
	requests                      []Request
	rules                         []rbacv1.PolicyRule
}

func readAgent(t *testing.T, file string) (a publishedAgent) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# agent: "); ok {
			a.name = name
		} else if from, ok := strings.CutPrefix(line, "# requests: "); ok {
			a.requestsFrom = from
		} else if method, path, ok := strings.Cut(line, " "); ok {
			a.requests = append(a.requests, Request{method, path})
		}
	}
	if data, err = os.ReadFile(strings.TrimSuffix(file, ".txt") + ".yaml"); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	a.manifests = strings.TrimPrefix(first, "# ")
	objects, err := reviewapi.ParseManifests(file, data)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := reviewapi.NewPolicy(objects...)
	if err != nil {
		t.Fatal(err)
	}
	if warnings := MissingRoles(objects); len(warnings) > 0 {
		t.Errorf("%s: %q", file, warnings)
	}
	user := newGrant(objects[len(objects)-1].(*rbacv1.ClusterRoleBinding).Subjects[0]).user
	a.rules = policy.ClusterRules(user.User, user.Groups)
	if a.name == "" || a.requestsFrom == "" || len(a.requests) == 0 || len(a.rules) == 0 {
		t.Fatalf("%s: incomplete: %+v", file, a)
	}
	return a
}

// table returns the rows of the docs about an agent, and the line about its sources.
func (a publishedAgent) table() (rows, source string) {
	for i, c := range Compare(a.rules, a.requests, nil) {
		var has, drop, replace, lacks []string
		for _, right := range c.Rights {
			if right.Use != Missing {
				has = append(has, right.String())
			}
			switch {
			case right.Use == Missing:
				lacks = append(lacks, right.String())
			case right.Use == Unused:
				drop = append(drop, right.String())
			case right.Note != "":
				replace = append(replace, right.String()+": "+right.Note)
			}
		}
		v := slices.IndexFunc(Roles(a.requests, nil), func(r Role) bool { return r.From <= c.From && c.To <= r.To })
		needs := Roles(a.requests, nil)[v].rights()
		caution := ""
		if slices.ContainsFunc(c.Cautions, func(text string) bool { return strings.Contains(text, "run commands") }) {
			caution = "can run commands in every container"
		}
		cells := []string{a.name, joinRights(has), versions(c.From, c.To), joinRights(needs), joinRights(drop),
			strings.Join(replace, "; "), joinRights(lacks), caution}
		if i > 0 {
			cells[0], cells[1] = "", ""
		}
		rows += "| " + strings.Join(cells, " | ") + " |\n"
	}
	return rows, fmt.Sprintf("- %s: rules from %s; requests (%s) from %s\n", a.name, a.manifests,
		byMethod(shortenAll(a.requests)), a.requestsFrom)
}

// joinRights joins rights, and names each resource once, as in "get, list nodes/stats; get nodes/pods".
func joinRights(rights []string) string {
	var order []string
	verbs := map[string][]string{}
	for _, right := range rights {
		verb, resource, _ := strings.Cut(right, " ")
		if verbs[resource] == nil {
			order = append(order, resource)
		}
		verbs[resource] = append(verbs[resource], verb)
	}
	slices.Sort(order)
	for i, resource := range order {
		order[i] = strings.Join(slices.Sorted(slices.Values(verbs[resource])), ", ") + " " + resource
	}
	return strings.Join(order, "; ")
}

// TestDocs compares the table in docs/least-privilege.md with the published RBAC of agents and with their requests.
func TestDocs(t *testing.T) {
	const file = "../../docs/least-privilege.md"
	const first, last = "-run TestDocs -update -->\n", "<!-- end of the table -->\n"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(data), first)
	_, after, ended := strings.Cut(rest, last)
	if !found || !ended {
		t.Fatalf("%s has no marks for the table", file)
	}
	table := "\n| agent | has | Kubernetes | needs | could drop | could replace | lacks | danger |\n" +
		"|---|---|---|---|---|---|---|---|\n"
	sources := "\nSources:\n\n"
	files, err := filepath.Glob("testdata/agents/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no agents: %v", err)
	}
	var agents []publishedAgent
	for _, file := range files {
		agents = append(agents, readAgent(t, file))
	}
	slices.SortFunc(agents, func(a, b publishedAgent) int {
		return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
	})
	for _, a := range agents {
		rows, source := a.table()
		table, sources = table+rows, sources+source
	}
	want := before + first + table + sources + "\n" + last + after
	if *update {
		err = os.WriteFile(file, []byte(want), 0o644)
	} else if want != string(data) {
		t.Errorf("%s is out of date; run: go test ./internal/leastprivilege -run TestDocs -update", file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTranscript checks the example of a comparison in docs/least-privilege.md.
func TestTranscript(t *testing.T) {
	const file = "../../docs/least-privilege.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "```yaml\n")
	manifests, rest, _ := strings.Cut(rest, "```\n")
	objects, err := reviewapi.ParseManifests(file, []byte(manifests))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := reviewapi.NewPolicy(objects...)
	if err != nil {
		t.Fatal(err)
	}
	requests := []Request{{"GET", "/metrics/resource"}, {"GET", "/pods"}}
	report := Report{User: agent, Decisions: 120, Comparisons: Compare(policy.ClusterRules(agent, nil), requests, nil)}
	want := &strings.Builder{}
	report.Write(want, 100)
	command, got, _ := strings.Cut(rest, "--filename agent.yaml\n")
	if got, _, _ = strings.Cut(got, "```\n"); got != want.String() {
		t.Errorf("after %q, %s has\n%s\nwant\n%s", command, file, got, want)
	}
}
