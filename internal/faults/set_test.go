package faults_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"fauxlet/internal/faults"
)

func add(t *testing.T, set *faults.Set, f faults.Fault) *faults.Active {
	t.Helper()
	active, err := set.Add(f)
	if err != nil {
		t.Fatal(err)
	}
	return active
}

func names(set *faults.Set) string {
	var all []string
	for _, a := range set.List() {
		all = append(all, a.Name)
	}
	return strings.Join(all, " ")
}

func TestScopeMatchesWhenAllPatternsMatch(t *testing.T) {
	target := faults.Target{
		Node: "node-1", Route: "/containerLogs/default/web-0/app", Method: "GET", User: "oidc:https://issuer/7",
		Groups:    []string{"dev", "system:authenticated"},
		Namespace: "default", Pod: "web-0", Container: "app", Review: faults.TokenReview,
	}
	for name, test := range map[string]struct {
		scope faults.Scope
		want  bool
	}{
		"nothing":               {faults.Scope{}, true},
		"node":                  {faults.Scope{Node: "node-*"}, true},
		"another node":          {faults.Scope{Node: "node-2"}, false},
		"route":                 {faults.Scope{Route: "/containerLogs/*/web-?/*"}, true},
		"a part of a route":     {faults.Scope{Route: "/containerLogs/*"}, false},
		"all below":             {faults.Scope{Route: "/containerLogs/**"}, true},
		"all below a pattern":   {faults.Scope{Route: "/*/default/**"}, true},
		"itself, too":           {faults.Scope{Route: "/containerLogs/default/web-0/app/**"}, true},
		"all":                   {faults.Scope{Route: "/**"}, true},
		"below what is longer":  {faults.Scope{Route: "/containerLogs/default/web-0/app/x/**"}, false},
		"a name begins alike":   {faults.Scope{Route: "/container/**"}, false},
		"method":                {faults.Scope{Method: "POST"}, false},
		"user with slashes":     {faults.Scope{User: "oidc:*"}, true},
		"another user":          {faults.Scope{User: "admin"}, false},
		"one of the groups":     {faults.Scope{Group: "system:*"}, true},
		"none of the groups":    {faults.Scope{Group: "ops"}, false},
		"namespace, not pod":    {faults.Scope{Namespace: "default", Pod: "db-*"}, false},
		"pod and container":     {faults.Scope{Pod: "web-*", Container: "[a-b]pp"}, true},
		"review":                {faults.Scope{Review: faults.TokenReview}, true},
		"another review":        {faults.Scope{Review: faults.SubjectAccessReview}, false},
		"everything, but route": {faults.Scope{Node: "*", Route: "/exec/**", User: "*", Group: "*"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			set := faults.NewSet()
			fault := faults.Fault{Kind: faults.Status, Status: 500, Scope: test.scope}
			if test.scope.Review != "" {
				fault = faults.Fault{Kind: faults.ReviewerDown, Scope: test.scope}
			}
			active := add(t, set, fault)
			if got := set.Apply(&target, fault.Kind) == active; got != test.want {
				t.Errorf("applied: %v, want %v", got, test.want)
			}
			if got := active.Matched() == 1; got != test.want {
				t.Errorf("the fault counts %d matches", active.Matched())
			}
			if empty := (faults.Scope{}); test.scope != empty && set.Apply(&faults.Target{}, fault.Kind) != nil {
				t.Error("the fault applies to a target without any field")
			}
		})
	}
}

// cutIndexes calls Set.Apply "count" times for a fault of the kind cut. It returns the indexes of the calls, counted
// from 0, in which a fault applied.
func cutIndexes(set *faults.Set, count int) []int {
	var all []int
	for i := range count {
		if set.Apply(&faults.Target{}, faults.Cut) != nil {
			all = append(all, i)
		}
	}
	return all
}

func TestCountAndShareSelectTheSameInEachRun(t *testing.T) {
	with := func(scope faults.Scope) *faults.Set {
		set := faults.NewSet()
		add(t, set, faults.Fault{Kind: faults.Cut, Scope: scope})
		return set
	}
	if got := cutIndexes(with(faults.Scope{Count: 2}), 10); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("count 2 applies to %v", got)
	}
	first := cutIndexes(with(faults.Scope{Share: 0.25, Seed: 1}), 1000)
	if len(first) < 200 || len(first) > 300 {
		t.Errorf("a share of 0.25 applies to %d of 1000 targets", len(first))
	}
	if again := cutIndexes(with(faults.Scope{Share: 0.25, Seed: 1}), 1000); !slices.Equal(first, again) {
		t.Error("the same share and seed select other targets the second time")
	}
	if other := cutIndexes(with(faults.Scope{Share: 0.25, Seed: 2}), 1000); slices.Equal(first, other) {
		t.Error("another seed selects the same targets")
	}
	if got := cutIndexes(with(faults.Scope{Share: 0.25, Seed: 1, Count: 3}), 1000); !slices.Equal(got, first[:3]) {
		t.Errorf("share and count select %v, want %v", got, first[:3])
	}
	if got := cutIndexes(with(faults.Scope{Share: 1}), 10); len(got) != 10 {
		t.Errorf("share 1 selects %v", got)
	}
}

func TestFirstFaultAppliesUntilItsCountIsUsedUp(t *testing.T) {
	set := faults.NewSet()
	first := add(t, set, faults.Fault{Kind: faults.Status, Status: 500, Scope: faults.Scope{Count: 1}})
	add(t, set, faults.Fault{Kind: faults.Cut})
	second := add(t, set, faults.Fault{Kind: faults.Status, Status: 503})
	for i, want := range []*faults.Active{first, second, second} {
		if got := set.Apply(&faults.Target{}, faults.Status); got != want {
			t.Errorf("application %d is by the fault %v", i, got)
		}
	}
	if first.Applied() != 1 || first.Matched() != 3 || second.Applied() != 2 || second.Matched() != 2 {
		t.Errorf("the first fault applied to %d of %d, the second to %d of %d",
			first.Applied(), first.Matched(), second.Applied(), second.Matched())
	}
}

func TestGeneratedNamesAreUnique(t *testing.T) {
	set := faults.NewSet()
	for range 2 {
		add(t, set, faults.Fault{Kind: faults.Cut})
	}
	add(t, set, faults.Fault{Name: "mine", Kind: faults.Cut})
	if err := set.Remove("cut-1"); err != nil {
		t.Fatal(err)
	}
	add(t, set, faults.Fault{Kind: faults.Cut})
	if got := names(set); got != "cut-2 mine cut-1" {
		t.Errorf("the active faults are %s", got)
	}
	if _, err := set.Add(faults.Fault{Name: "mine", Kind: faults.CachesFlushed}); err == nil ||
		!strings.HasPrefix(err.Error(), `name: "mine": an active fault of the kind cut has this name`) {
		t.Errorf("adding a second fault with the same name: %v", err)
	}
	if _, err := set.Add(faults.Fault{Kind: faults.Status}); err == nil {
		t.Error("a fault of the kind status without a status code was accepted")
	}
	if err := set.Remove("yours"); err == nil || err.Error() != `no fault "yours" is active` {
		t.Errorf("removing an unknown fault: %v", err)
	}
	if got := set.Clear(); got != 3 || !set.Empty() {
		t.Errorf("Clear returned %d, the active faults are %s", got, names(set))
	}
}

func TestReplaceKeepsUnchangedFaultsAndOtherOrigins(t *testing.T) {
	set := faults.NewSet()
	add(t, set, faults.Fault{Name: "own", Kind: faults.CachesFlushed})
	parse := func(texts ...string) (all []faults.Fault) {
		for _, text := range texts {
			f, err := faults.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}
		return all
	}
	replace := func(texts ...string) {
		t.Helper()
		if err := set.Replace("scenario", parse(texts...)); err != nil {
			t.Fatal(err)
		}
	}
	replace(`{"kind": "cut"}`, `{"kind": "cut", "after": 7}`,
		`{"name": "fat", "kind": "memory-heavy", "memory": "1Gi"}`)
	if got := names(set); got != "own cut-1 cut-2 fat" {
		t.Fatalf("the active faults are %s", got)
	}
	second, fat := set.List()[2], set.List()[3]
	set.Apply(&faults.Target{}, faults.Cut)

	before := set.List()
	replace(`{"kind": "cut"}`, `{"kind": "cut", "after": 7}`,
		`{"name": "fat", "kind": "memory-heavy", "memory": "1024Mi"}`)
	if !slices.Equal(set.List(), before) {
		t.Error("replacing faults by equal faults changed the Set")
	}
	// Now the first fault has another kind, but still the name cut-1. The second fault is unchanged. The third fault
	// has another amount of memory.
	replace(`{"kind": "connection-reset", "name": "cut-1"}`, `{"kind": "cut", "after": 7}`,
		`{"name": "fat", "kind": "memory-heavy", "memory": "2Gi"}`)
	if got := names(set); got != "own cut-1 cut-2 fat" {
		t.Fatalf("the active faults are %s", got)
	}
	if set.List()[2] != second || set.List()[3] == fat {
		t.Error("the unchanged fault must stay, and the changed one must not")
	}
	before = set.List()
	for want, texts := range map[string][]string{
		`[1].name: "own": another fault, of the kind caches-flushed, has this name`: {`{"kind": "cut"}`,
			`{"kind": "cut", "name": "own"}`},
		`[1].name: "x": another fault, of the kind cut, has this name`: {`{"kind": "cut", "name": "x"}`,
			`{"kind": "cut", "name": "x"}`},
	} {
		if err := set.Replace("scenario", parse(texts...)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Replace returned %v, want %s", err, want)
		}
	}
	if err := set.Replace("scenario", []faults.Fault{{Kind: faults.Status}}); err == nil ||
		!strings.HasPrefix(err.Error(), "[0].status: missing") {
		t.Errorf("replacing by an invalid fault: %v", err)
	}
	if !slices.Equal(set.List(), before) {
		t.Error("Replace returned an error, but changed the Set")
	}
	replace()
	if got := names(set); got != "own" {
		t.Errorf("the active faults are %s", got)
	}
}

func TestFollowersRunBeforeAChangeReturns(t *testing.T) {
	set := faults.NewSet()
	var seen []string
	stop := set.Follow(func() { seen = append(seen, names(set)) })
	add(t, set, faults.Fault{Kind: faults.Cut})
	if err := set.Remove("cut-1"); err != nil {
		t.Fatal(err)
	}
	set.Clear() // the Set is empty already, so Clear does not call the function passed to Follow
	stop()
	add(t, set, faults.Fault{Kind: faults.Cut})
	if want := []string{"cut-1", ""}; !slices.Equal(seen, want) {
		t.Errorf("followed %q, want %q", seen, want)
	}
}

func TestUnusedAndEmpty(t *testing.T) {
	var none *faults.Set
	if !none.Unused() || !none.Empty() || none.Apply(&faults.Target{}, faults.Cut) != nil {
		t.Error("a nil Set is not unused and empty")
	}
	set := faults.NewSet()
	if !set.Unused() || !set.Empty() {
		t.Error("a new Set is not unused and empty")
	}
	add(t, set, faults.Fault{Kind: faults.CachesFlushed})
	if set.Empty() {
		t.Error("a Set with a fault is empty")
	}
	set.Clear()
	if set.Unused() || !set.Empty() {
		t.Error("after its fault was removed, the Set is unused, or not empty")
	}
}

func TestCountHoldsUnderConcurrency(t *testing.T) {
	set := faults.NewSet()
	counted := add(t, set, faults.Fault{Kind: faults.Cut, Scope: faults.Scope{Count: 100}})
	var workers sync.WaitGroup
	for i := range 4 {
		workers.Go(func() {
			for range 1000 {
				set.Apply(&faults.Target{}, faults.Cut)
			}
		})
		workers.Go(func() {
			name := fmt.Sprint("other-", i)
			for range 100 {
				if _, err := set.Add(faults.Fault{Name: name, Kind: faults.CachesFlushed}); err != nil {
					t.Error(err)
				}
				if err := set.Remove(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	if counted.Matched() != 4000 || counted.Applied() != 100 {
		t.Errorf("applied to %d of %d matches", counted.Applied(), counted.Matched())
	}
}

func TestActiveFaultAsJSONAndMetrics(t *testing.T) {
	set := faults.NewSet()
	if got := testutil.CollectAndCount(set.Collector("")); got != 0 {
		t.Errorf("%d metrics without an active fault", got)
	}
	add(t, set, faults.Fault{Kind: faults.Cut, After: 7, Scope: faults.Scope{Count: 1}})
	add(t, set, faults.Fault{Kind: faults.CachesFlushed, Scope: faults.Scope{Node: "b"}})
	for range 2 {
		set.Apply(&faults.Target{}, faults.Cut)
	}
	data, err := json.Marshal(set.List()[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := string(data); !strings.HasPrefix(got, `{"name":"cut-1","kind":"cut","after":7,"count":1,"since":"`) ||
		!strings.HasSuffix(got, `,"matched":2,"applied":1}`) {
		t.Error(got)
	}
	if err := testutil.CollectAndCompare(set.Collector("a"), strings.NewReader(`
# HELP fauxlet_fault_active 1 for each active fault. Its failures are deliberate.
# TYPE fauxlet_fault_active gauge
fauxlet_fault_active{fault="cut-1",kind="cut"} 1
# HELP fauxlet_fault_applied_total How many times an active fault has been applied, on all nodes of the process.
# TYPE fauxlet_fault_applied_total counter
fauxlet_fault_applied_total{fault="cut-1",kind="cut"} 1
`)); err != nil {
		t.Error(err)
	}
	if got := testutil.CollectAndCount(set.Collector("")); got != 4 {
		t.Errorf("%d metrics with two active faults", got)
	}
}
