package same

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"fauxlet/internal/recordings"
)

// The type "counts" has the numbers of compared requests by several properties, such as route and status. The keys of
// the outer map are the properties, and the keys of the inner maps are their values.
type counts struct {
	mu sync.Mutex // held by add
	by map[string]map[string]int
}

func newCounts() *counts {
	c := &counts{by: map[string]map[string]int{}}
	for _, kind := range []string{"configuration", "source", "route", "client", "status", "connection", "failed"} {
		c.by[kind] = map[string]int{}
	}
	return c
}

func (c *counts) conversation(talk *conversation, seen []observation) {
	source := "generated"
	switch {
	case talk.Vector != nil:
		source = "vectors"
	case talk.From == "requests_test.go":
		source = "written"
	}
	for i, r := range talk.Requests {
		c.by["source"][source]++
		c.by["route"][recordings.RootOf(r.Path)]++
		c.by["client"][talk.As]++
		c.by["status"][strconv.Itoa(seen[i].Code)]++
		if seen[i].Failed != "" {
			c.by["failed"][seen[i].Failed[:min(len(seen[i].Failed), 40)]]++
		}
		kind := "HTTP/1.1"
		switch {
		case talk.HTTP2:
			kind = "HTTP/2"
		case r.Protocol == "HTTP/1.0":
			kind = r.Protocol
		}
		c.by["connection"][kind]++
		if what := seen[i].Connection; what == "closed" || what == "upgraded" || strings.HasPrefix(what, "kept") {
			c.by["connection"][what]++
		}
		if talk.ReadOnly {
			c.by["connection"]["read-only"]++
		}
		if talk.Pipelined {
			c.by["connection"]["pipelined"]++
		}
	}
}

func (c *counts) add(configuration string, more *counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for kind, counts := range more.by {
		for name, n := range counts {
			c.by[kind][name] += n
		}
	}
	for _, n := range more.by["source"] {
		c.by["configuration"][configuration] += n
	}
}

// mustRun has the minimum number of requests of each kind. The test fails if the comparison sends fewer requests of
// some kind.
var mustRun = map[string]map[string]int{
	"source": {"generated": 5000, "vectors": 1000, "written": 3000},
	"route": {
		"pods": 600, "runningpods": 200, "allocatedPods": 300, "containerLogs": 1000, "run": 250, "exec": 500,
		"attach": 250, "portForward": 300, "checkpoint": 250,
		"logs": 400, "stats": 250, "metrics": 450, "healthz": 400, "configz": 150, "flagz": 100, "statusz": 100,
		"debug": 400, "other": 800,
	},
	"connection": {"HTTP/1.0": 200, "HTTP/2": 250, "kept": 1500, "closed": 3500, "upgraded": 80, "read-only": 1000,
		"pipelined": 400},
	"status": {"101": 80, "200": 800, "307": 350, "400": 500, "401": 900, "403": 700, "404": 1500, "405": 1000,
		"406": 80, "422": 20, "500": 150},
}

// These are the minimum numbers of requests for each configuration and for each client.
const (
	leastOfConfiguration = 200
	leastOfClient        = 8
	leastConfigurations  = 20
	leastClients         = 80
)

func (c *counts) hold(t *testing.T) {
	t.Helper()
	for kind, least := range mustRun {
		for name, want := range least {
			got := 0
			for counted, n := range c.by[kind] {
				if counted == name || kind == "connection" && name == "kept" && strings.HasPrefix(counted, name) {
					got += n
				}
			}
			if got < want {
				t.Errorf("%s %s: %d requests were compared, want %d at least", kind, name, got, want)
			}
		}
	}
	for kind, least := range map[string][2]int{"configuration": {leastConfigurations, leastOfConfiguration},
		"client": {leastClients, leastOfClient}} {
		if len(c.by[kind]) < least[0] {
			t.Errorf("%d of %s, want %d at least", len(c.by[kind]), kind, least[0])
		}
		for name, n := range c.by[kind] {
			if n < least[1] {
				t.Errorf("%s %s: %d requests were compared, want %d at least", kind, name, n, least[1])
			}
		}
	}
	total := 0
	for _, n := range c.by["source"] {
		total += n
	}
	t.Logf("%d requests were compared in %d configurations: %v, %v, %v, by status %v", total,
		len(c.by["configuration"]),
		c.by["source"], c.by["route"], c.by["connection"], c.by["status"])
}
