package same

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/recordings"
	"fauxlet/internal/vectors"
)

// TestSameAnswers sends the same requests to the kubelet's own server (program "reference") and to fauxlet, both with
// the same configuration, files, ports and policy. It compares status, headers except Date, body, reviews sent, the
// state of the connection, the TLS parameters offered, and the values of the metrics at the end.
//
// The requests come from internal/vectors, from requests_test.go, from testdata/differed.jsonl and from a generator.
// FAUXLET_E2E_SEED sets the seed of the generator, and FAUXLET_E2E_REQUESTS the number of generated requests.
// divergences.json lists the allowed differences; the test also fails if a listed difference no longer occurs.
func TestSameAnswers(t *testing.T) {
	t.Parallel()
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	known, clients := readDivergences(t), newClients(t, corpus)
	seed, requests := programs.NumberFromEnvironment(t, "FAUXLET_E2E_SEED", defaultSeed),
		programs.NumberFromEnvironment(t, "FAUXLET_E2E_REQUESTS", defaultRequests)
	t.Logf("generated Requests: FAUXLET_E2E_SEED=%d FAUXLET_E2E_REQUESTS=%d", seed, requests)
	all := allConfigurations(corpus)
	ran := newCounts()
	t.Run("in", func(t *testing.T) { // t.Run returns when all parallel subtests of "in" have ended
		for _, name := range sortedKeys(all) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				if !slices.Contains(quickConfigurations, name) {
					programs.Slow(t)
				}
				began := time.Now()
				c := newComparison(t, name, known, startSides(t, all[name], clients))
				t.Logf("both started within %v", time.Since(began).Round(10*time.Millisecond))
				c.run(written(name, corpus), all[name])
				c.run(ofVectors(t, name, corpus), all[name])
				c.run(readDiffered(t, name), all[name])
				c.run(generate(name, seed, int(requests)/len(all), clients, c.sides[0].peer.OffersHTTP2(), false),
					all[name])
				c.handshakes()
				c.series()
				c.summarize()
				ran.add(name, c.counts)
			})
		}
	})
	if len(ran.by["configuration"]) < len(all) {
		return // -run, -short or an early failure excluded some configurations
	}
	if requests >= defaultRequests {
		ran.hold(t)
	}
	for _, d := range known.gone() {
		t.Errorf("divergences.json: %s: it no longer occurs; remove it", d)
	}
}

// quickConfigurations lists the only configurations that the test compares when it runs with -short.
var quickConfigurations = []string{"defaults", "anonymous", "flags-only"}

const (
	defaultSeed     = 1
	defaultRequests = 6000
)

// comparison compares the two servers in one configuration.
type comparison struct {
	t      testing.TB
	name   string
	known  divergences
	sides  [2]*side
	counts *counts
	// found counts the differences of each kind. A kind is a combination of a route and the aspects of the answers
	// that differ, such as the status and the body. Only the first few differences of a kind are reported in full.
	found map[string]int
	spent time.Duration
	sent  int
	// keep, if not nil, is called with the smallest conversation that shows a difference.
	keep func(conversation)
}

func newComparison(t testing.TB, name string, known divergences, sides [2]*side) *comparison {
	return &comparison{t: t, name: name, known: known, sides: sides, counts: newCounts(), found: map[string]int{}}
}

// finding is a difference between the two servers that is not allowed.
type finding struct {
	request int
	id      string
	difference
}

// run sends each conversation to both servers in parallel. It waits for the end of a conversation before it starts
// the next one, so that each review belongs to one request.
func (c *comparison) run(conversations []conversation, how configuration) {
	began := time.Now()
	for i := range conversations {
		talk := &conversations[i]
		faults := talk.Faults
		if how.faults != nil {
			faults = how.faults
		}
		for _, s := range c.sides {
			s.fail(c.t, faults)
		}
		seen := c.hold(talk)
		c.counts.conversation(talk, seen[0])
		c.sent += len(talk.Requests)
		findings := c.differences(talk, seen)
		if len(findings) > 0 {
			c.report(talk, seen, findings)
		}
		if talk.Vector != nil {
			c.expect(talk, seen, len(findings) == 0)
		}
	}
	c.spent += time.Since(began)
	for _, s := range c.sides {
		s.fail(c.t, how.faults)
	}
}

func (c *comparison) hold(talk *conversation) [2][]observation {
	var seen [2][]observation
	var both sync.WaitGroup
	for i, s := range c.sides {
		both.Go(func() { seen[i] = talk.Hold(s.peer) })
	}
	both.Wait()
	return seen
}

func (c *comparison) differences(talk *conversation, seen [2][]observation) []finding {
	var all []finding
	for i := range talk.Requests {
		want, got := seen[0][i], seen[1][i]
		id := c.name + " " + talk.ID(i)
		for _, d := range recordings.Compare(want, got) {
			if !c.known.allow(id, d.Aspect, want, got) {
				all = append(all, finding{i, id, d})
			}
		}
	}
	return all
}

// expect compares the kubelet's answer to a request with the expectation of a vector in internal/vectors. If fauxlet
// gave the same answer, expect does the same with fauxlet's answer. Otherwise the caller has already reported the
// difference between the two answers.
func (c *comparison) expect(talk *conversation, seen [2][]observation, same bool) {
	for i, s := range c.sides {
		if i == 1 && !same {
			continue
		}
		o := seen[i][0]
		observed := vectors.Observed{Status: o.Code, Header: o.Header, Body: o.Body}
		for _, record := range o.Records {
			observed.AddReview(record.Access)
		}
		for _, problem := range talk.Vector.Problems(observed) {
			c.t.Errorf("%s: %s: %s: %s", talk.From, s.kind, talk.Vector.Name(), problem)
		}
	}
}

// These limits apply to each configuration. The constant reportedOfEach is how many differences of one kind are
// reported in full. The constant "shrunk" is for how many kinds the test searches for the smallest request that shows
// the difference.
const (
	reportedOfEach = 2
	shrunk         = 12
)

// report reports a difference between the observations "found", with the smallest request that shows it.
func (c *comparison) report(talk *conversation, found [2][]observation, findings []finding) {
	first := findings[0]
	var aspects []string
	for _, f := range findings {
		if f.request == first.request {
			aspects = append(aspects, f.Aspect)
		}
	}
	about := recordings.RootOf(talk.Requests[first.request].Path) + ": " + strings.Join(aspects, ", ")
	c.found[about]++
	if c.found[about] > reportedOfEach {
		c.t.Fail()
		return
	}
	small := *talk
	if len(c.found) <= shrunk {
		small = c.shrink(*talk, aspects)
	}
	seen := c.hold(&small)
	again := c.differences(&small, seen)
	note := ""
	if len(again) == 0 {
		small, seen, again = *talk, found, findings
		note = "\n  (the difference does not occur if the request is sent alone)"
	} else if c.keep != nil {
		c.keep(small)
	}
	var text strings.Builder
	for i, s := range c.sides {
		o := seen[i][again[0].request]
		fmt.Fprintf(&text, "\n  %s answers: %s %s", s.kind, o.Status+o.Failed, o.Connection)
	}
	for _, f := range again {
		fmt.Fprintf(&text, "\n  %s: %s", f.Aspect, strings.TrimSpace(f.Detail))
	}
	if small.Quick { // the other requests are too many to print
		small.Requests = small.Requests[again[0].request:][:1]
	}
	c.t.Errorf("%s (from %s)\n  %s%s%s", again[0].id, talk.From, curl(&small, c.sides[0]), note, text.String())
}

func (c *comparison) summarize() {
	for _, about := range sortedKeys(c.found) {
		if n := c.found[about]; n > reportedOfEach {
			c.t.Errorf("%s: %d more differences about %s", c.name, n-reportedOfEach, about)
		}
	}
	c.t.Logf("%s: %d requests in %v", c.name, c.sent, c.spent.Round(10*time.Millisecond))
}

// series compares the values of the metrics of both servers, and reports whether they are equal. It waits until they
// are equal, because a server may count a request late: up to 30 s late if the client disconnected before all streams
// of an attach or exec were created (DefaultStreamCreationTimeout).
func (c *comparison) series() bool {
	var diff string
	problem := expect.Within(time.Minute, func() string {
		var counted [2]map[string]string
		for i, s := range c.sides {
			talk := conversation{ReadOnly: true, As: "no-credential",
				Requests: []request{{Method: "GET", Path: "/metrics", Header: hangUp}}}
			conn, err := talk.Dial(s.peer, "")
			if err != nil {
				return err.Error()
			}
			counted[i] = s.scrape(conn, talk.Requests[0])
		}
		var differing []string
		for _, counts := range counted {
			for name := range counts {
				if counted[0][name] != counted[1][name] && !slices.Contains(differing, name) {
					differing = append(differing, name)
				}
			}
		}
		slices.Sort(differing)
		diff = ""
		for _, name := range differing {
			diff += fmt.Sprintf("\n  %s: reference %q, fauxlet %q", name, counted[0][name], counted[1][name])
		}
		return diff
	})
	if problem != "" {
		c.t.Errorf("%s: the metrics have different values:%s", c.name, problem)
	}
	return problem == ""
}
