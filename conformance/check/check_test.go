package check

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fauxlet/conformance"
)

// TestTable checks that every check has the fields that the report and the documentation need.
func TestTable(t *testing.T) {
	defined := map[string]bool{}
	for _, c := range Checks() {
		if !regexp.MustCompile(`^[a-z]+\.[a-z0-9][a-z0-9.-]*$`).MatchString(c.ID) {
			t.Errorf("%q is not a valid ID", c.ID)
		}
		if defined[c.ID] {
			t.Errorf("duplicate ID %s", c.ID)
		}
		for _, need := range c.Needs {
			if !defined[need] {
				t.Errorf("%s needs %s, so %[2]s must come first in the table", c.ID, need)
			}
		}
		defined[c.ID] = true
		if c.Title == "" || strings.HasSuffix(c.Title, ".") || len(c.Title) > 80 {
			t.Errorf("%s: the title %q is empty, too long, or a sentence", c.ID, c.Title)
		}
		if !strings.HasSuffix(c.Proves, ".") {
			t.Errorf("%s: Proves is not a sentence: %q", c.ID, c.Proves)
		}
		if c.run == nil {
			t.Errorf("%s has no run function", c.ID)
		}
	}
	if len(defined) < 20 {
		t.Errorf("the table has only %d checks", len(defined))
	}
}

// The variable "some" has five checks. Check d needs the checks b and c, and each of these needs check a. Check e needs
// no other check.
var some = []Check{
	{ID: "g.a"},
	{ID: "g.b", Needs: []string{"g.a"}},
	{ID: "g.c", Needs: []string{"g.a"}},
	{ID: "h.d", Needs: []string{"g.b", "g.c"}},
	{ID: "h.e", Flag: "--e"},
}

func ids(all []Check) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.ID
	}
	return names
}

func TestSelect(t *testing.T) {
	for _, test := range []struct {
		only, want []string
	}{
		{nil, []string{"g.a", "g.b", "g.c", "h.d", "h.e"}},
		{[]string{"g.b"}, []string{"g.a", "g.b"}},
		{[]string{"h"}, []string{"g.a", "g.b", "g.c", "h.d", "h.e"}},
		{[]string{"h.e", "g.a"}, []string{"g.a", "h.e"}},
	} {
		got, err := Select(some, test.only)
		if err != nil {
			t.Errorf("Select(%q) failed: %v", test.only, err)
		}
		if diff := cmp.Diff(test.want, ids(got)); diff != "" {
			t.Errorf("Select(%q) returned the wrong checks (-want +got): %s", test.only, diff)
		}
	}
	if _, err := Select(some, []string{"g.a", "x"}); err == nil ||
		!strings.Contains(err.Error(), `"x" is neither a check ID nor the beginning of a check ID`) {
		t.Errorf("Select returned the wrong error: %v", err)
	}
}

type does = map[string]func(context.Context, *finding) error

// scheduled runs the five example checks in the variable "some". It returns their results as texts, and their IDs in
// the order in which the results were reported.
func scheduled(t *testing.T, ctx context.Context, do does) (results map[string]string, order []string) {
	t.Helper()
	checks := slices.Clone(some)
	for i, c := range checks {
		checks[i].run = func(ctx context.Context, _ *run, f *finding) error {
			if do[c.ID] == nil {
				return nil
			}
			return do[c.ID](ctx, f)
		}
	}
	all := schedule(ctx, nil, checks, func(r conformance.Result) { order = append(order, r.ID) })
	results = map[string]string{}
	for i, r := range all {
		if r.ID != some[i].ID || r.Flag != some[i].Flag && r.Flag != "own" || r.Evidence == nil {
			t.Errorf("result %d has the wrong ID or flag, or no evidence: %+v", i, r)
		}
		results[r.ID] = fmt.Sprintf("%s %v %s", r.Verdict, r.Incomplete, r.Reason)
	}
	return results, order
}

// failing returns a run function that reports a problem and then returns err.
func failing(err error) func(context.Context, *finding) error {
	return func(_ context.Context, f *finding) error {
		f.fail("why")
		return err
	}
}

func TestSchedule(t *testing.T) {
	const passed, needsA = "pass false ", "skipped false needs g.a, which did not pass"
	needs := func(id string) string { return "skipped false needs " + id + ", which did not pass" }
	for _, test := range []struct {
		name string
		do   does
		want map[string]string
	}{
		{"all pass", nil, map[string]string{"g.a": passed, "g.b": passed, "g.c": passed, "h.d": passed, "h.e": passed}},
		{"a warning is no reason to skip", does{"g.a": func(_ context.Context, f *finding) error {
			return f.warn("why")
		}},
			map[string]string{"g.a": "warn false why", "g.b": passed, "g.c": passed, "h.d": passed, "h.e": passed}},
		{"a failure is", does{"g.a": failing(nil)},
			map[string]string{"g.a": "fail false why", "g.b": needsA, "g.c": needsA, "h.d": needs("g.b"),
				"h.e": passed}},
		{"so is a skip", does{"g.c": func(context.Context, *finding) error {
			return fmt.Errorf("wrapped: %w", skipped("cannot"))
		}},
			map[string]string{"g.a": passed, "g.b": passed, "g.c": "skipped false cannot", "h.d": needs("g.c"),
				"h.e": passed}},
		{"an error is no verdict", does{"g.b": func(context.Context, *finding) error { return errors.New("lost") }},
			map[string]string{"g.a": passed, "g.b": "skipped true did not complete: lost", "g.c": passed,
				"h.d": needs("g.b"), "h.e": passed}},
		{"a problem before an error is one", does{"g.b": failing(errors.New("lost"))},
			map[string]string{"g.a": passed, "g.b": "fail false why", "g.c": passed, "h.d": needs("g.b"),
				"h.e": passed}},
		{"a flag of its own", does{"h.e": func(_ context.Context, f *finding) error {
			f.flag = "own"
			return nil
		}}, map[string]string{"g.a": passed, "g.b": passed, "g.c": passed, "h.d": passed, "h.e": passed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, order := scheduled(t, t.Context(), test.do)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("wrong results (-want +got):\n%s", diff)
			}
			at := func(id string) int { return slices.Index(order, id) }
			if len(order) != len(some) || at("g.a") > at("g.b") || at("g.a") > at("g.c") ||
				at("h.d") < max(at("g.b"), at("g.c")) {
				t.Errorf("the order %q has results before the results that they need", order)
			}
		})
	}
}

// TestScheduleWithoutNeed checks that a check is skipped if the check that it needs is not part of the run.
func TestScheduleWithoutNeed(t *testing.T) {
	got := schedule(t.Context(), nil, some[1:2], func(conformance.Result) {})
	if len(got) != 1 || got[0].Verdict != conformance.Skipped || got[0].Reason != "needs g.a, which is not run" {
		t.Errorf("the results are %+v, want one skipped check", got)
	}
}

// TestScheduleStops interrupts one run, and lets a check of another run exceed the time limit.
func TestScheduleStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		wait := func(ctx context.Context, f *finding) error {
			<-ctx.Done()
			return f.fail("nothing came")
		}
		got, _ := scheduled(t, ctx, does{"g.a": wait, "h.e": func(ctx context.Context, _ *finding) error {
			time.Sleep(time.Second)
			stop(errors.New("interrupted"))
			<-ctx.Done()
			return nil // a pass counts even if the run has been stopped
		}})
		want := map[string]string{
			"g.a": "skipped true did not complete: interrupted",
			"g.b": "skipped false needs g.a, which did not pass", "g.c": "skipped false needs g.a, which did not pass",
			"h.d": "skipped false needs g.b, which did not pass", "h.e": "pass false ",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("wrong results (-want +got):\n%s", diff)
		}

		began := time.Now()
		got, _ = scheduled(t, t.Context(), does{"h.e": wait, "g.a": func(ctx context.Context, _ *finding) error {
			<-ctx.Done()
			return errors.New("no answer")
		}})
		if took := time.Since(began); took != timeLimit {
			t.Errorf("the run took %v, want the time limit %v", took, timeLimit)
		}
		over := fmt.Sprintf("skipped true did not complete: the check did not finish within %v", timeLimit)
		if got["h.e"] != over || got["g.a"] != over+": no answer" {
			t.Errorf("wrong results after the time limit: %q", got)
		}

		// With more time for the run, a check has more time too.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		began = time.Now()
		scheduled(t, ctx, does{"h.e": wait})
		if took := time.Since(began); took != 150*time.Second {
			t.Errorf("the run took %v, want a quarter of 10 minutes", took)
		}
	})
}

// TestScheduleParallelism checks that the maximum number of checks that run at once is equal to the constant
// "parallelism".
func TestScheduleParallelism(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		many := make([]Check, 3*parallelism)
		var mu sync.Mutex
		now, most := 0, 0
		add := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			now += n
			most = max(most, now)
		}
		for i := range many {
			many[i] = Check{ID: fmt.Sprintf("g.%d", i), run: func(context.Context, *run, *finding) error {
				add(1)
				time.Sleep(time.Second)
				add(-1)
				return nil
			}}
		}
		schedule(t.Context(), nil, many, func(conformance.Result) {})
		if most != parallelism {
			t.Errorf("at most %d checks ran at once, want %d", most, parallelism)
		}
	})
}
