package same

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
	"fauxlet/internal/recordings"
	"fauxlet/internal/vectors"
)

const (
	// batchRequests is the number of requests in a batch. A batch has one seed and one configuration.
	batchRequests = 700
	// defaultCompared is the number of requests that `make e2e` compares in TestCompare.
	defaultCompared = 2000
	// defaultMostDifferences is the number of differences after which TestCompare stops.
	defaultMostDifferences = 20
	// floodPause is longer than the minute for which a kubelet remembers requests for streams that did not upgrade.
	floodPause = 65 * time.Second
	// floodPairs is the number of pairs of servers for floods, so that few floods have to wait.
	floodPairs = 5
)

// uncached lists the configurations whose servers send reviews for each request. All others cache the results, which
// saves time.
var uncached = []string{"defaults", "anonymous", "reviewer-forbids", "reviewer-sends-no-review"}

// cachingFlags have the same effect as the field "caches" has in a configuration file.
var cachingFlags = []string{"--authentication-token-webhook-cache-ttl=1h",
	"--authorization-webhook-cache-authorized-ttl=1h", "--authorization-webhook-cache-unauthorized-ttl=1h"}

// savedGC is the value of GOGC that makes all processes collect garbage less often.
const savedGC = 400

// batch is a part of the requests of TestCompare.
type batch struct {
	seed          uint64
	configuration string
	// flood means that the batch has more requests for streams than a kubelet accepts within a minute.
	flood   bool
	clients map[string]client
}

// batchOf returns the batch of a seed. The configurations take turns. The configuration "log-query" has several turns,
// because only its servers answer queries of the node's logs.
func batchOf(seed uint64, names []string, clients map[string]client) batch {
	turns := slices.Concat(names, []string{"log-query", "defaults", "flood"})
	b := batch{seed: seed, configuration: turns[seed%uint64(len(turns))], clients: clients}
	if b.configuration == "flood" {
		b.configuration, b.flood = "defaults", true
	}
	return b
}

// conversations returns the requests of a batch.
func (b batch) conversations(http2 bool) []conversation {
	if b.flood {
		return flood(b.seed)
	}
	return generate(b.configuration, b.seed, batchRequests, b.clients, http2, true)
}

// TestCompare is the test of the command `make compare`. It sends generated requests to the kubelet's own server and to
// fauxlet, as TestSameAnswers does, but any number of them: FAUXLET_E2E_COMPARE. The requests come in batches.
// FAUXLET_E2E_SEED is the seed of the first batch, and each following batch has the next seed. The test prints its
// progress, and each difference as soon as it is found. FAUXLET_E2E_DIFFERENCES is the number of differences after
// which the test stops. SIGINT and SIGTERM end the test, which then prints the result so far and fails.
func TestCompare(t *testing.T) {
	programs.Slow(t)
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	r := &run{t: t, clients: newClients(t, corpus), all: allConfigurations(corpus), known: readDivergences(t),
		first: programs.NumberFromEnvironment(t, "FAUXLET_E2E_SEED", defaultSeed),
		want:  programs.NumberFromEnvironment(t, "FAUXLET_E2E_COMPARE", defaultCompared),
		limit: programs.NumberFromEnvironment(t, "FAUXLET_E2E_DIFFERENCES", defaultMostDifferences),
		pairs: map[string]*pair{}, underWay: map[uint64]bool{}, kinds: map[string]int{}, stop: make(chan struct{}),
		counts: newCounts(), end: make(chan struct{}), began: time.Now()}
	r.next = r.first
	for name, c := range r.all {
		c.quiet, c.caches = true, !slices.Contains(uncached, name)
		if len(c.flags) > 0 {
			c.flags = slices.Concat(c.flags, cachingFlags)
		}
		r.all[name] = c
	}
	defer debug.SetGCPercent(debug.SetGCPercent(savedGC))
	t.Setenv("GOGC", strconv.Itoa(savedGC)) // for the servers
	t.Setenv("GOMAXPROCS", "1")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		select {
		case <-signals:
			r.finish("interrupted")
		case <-r.end:
		}
	}()
	go r.progress()
	var workers sync.WaitGroup
	for range workersPerCPU * runtime.NumCPU() {
		workers.Go(r.work)
	}
	workers.Wait()
	r.compareSeries()
	close(r.end)
	r.servers.Wait()
	r.result()
}

// workersPerCPU is the number of batches that are compared at the same time for each CPU. Some requests wait, for
// example those that follow a log.
const workersPerCPU = 6

// run is one run of TestCompare.
type run struct {
	t           *testing.T
	clients     map[string]client
	all         map[string]configuration
	known       divergences
	first       uint64
	want, limit uint64
	began       time.Time

	stop    chan struct{} // closed when no further request is to be sent
	end     chan struct{} // closed when the servers are no longer needed
	servers sync.WaitGroup

	mu          sync.Mutex
	stopped     string // the reason why the run stopped early
	next        uint64
	claimed     uint64 // requests in the batches that have begun
	sent        uint64
	differences uint64
	underWay    map[uint64]bool // the seeds of the batches that have begun and not ended
	pairs       map[string]*pair
	kinds       map[string]int
	counts      *counts
}

// pair is the two servers of one configuration.
type pair struct {
	sync.Mutex // held while a batch is compared
	comparison *comparison
	http2      bool
	flooded    time.Time
	ready      chan struct{}
}

// finish stops the run early.
func (r *run) finish(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped == "" {
		r.stopped = why
		close(r.stop)
	}
}

func (r *run) stopping() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// work compares batches until enough requests have been compared.
func (r *run) work() {
	names := sortedKeys(r.all)
	for !r.stopping() {
		r.mu.Lock()
		if r.claimed >= r.want {
			r.mu.Unlock()
			return
		}
		b := batchOf(r.next, names, r.clients)
		r.next++
		r.claimed += batchRequests
		r.underWay[b.seed] = true
		r.mu.Unlock()
		if r.compare(b) {
			r.mu.Lock()
			delete(r.underWay, b.seed)
			r.mu.Unlock()
		}
	}
}

// compare compares one batch. It returns false if the run was stopped before the end of the batch.
func (r *run) compare(b batch) bool {
	p := r.pair(b)
	if p == nil {
		return false
	}
	p.Lock()
	defer p.Unlock()
	if b.flood {
		select {
		case <-time.After(time.Until(p.flooded.Add(floodPause))):
		case <-r.stop:
			return false
		}
		defer func() { p.flooded = time.Now() }()
	}
	c, how := p.comparison, r.all[b.configuration]
	c.found = map[string]int{}
	all := b.conversations(p.http2)
	for i := range all {
		if r.stopping() {
			return false
		}
		c.counts = newCounts()
		before := c.total()
		c.run(all[i:i+1], how)
		r.mu.Lock()
		r.sent += uint64(len(all[i].Requests))
		r.differences += uint64(c.total() - before)
		r.counts.add(b.configuration, c.counts)
		for k := range all[i].Requests {
			for _, name := range kindsOf(b, &all[i], k) {
				r.kinds[name]++
			}
		}
		tooMany := r.differences >= r.limit
		r.mu.Unlock()
		if c.total() > before {
			fmt.Fprintf(os.Stderr, "  repeat its batch with: make compare N=%d SEED=%d\n", batchRequests, b.seed)
		}
		if tooMany {
			r.finish(fmt.Sprintf("stopped after %d differences", r.limit))
		}
	}
	return true
}

// total returns the number of differences that the comparison has found.
func (c *comparison) total() int {
	n := 0
	for _, found := range c.found {
		n += found
	}
	return n
}

// pair returns the servers for a batch, and starts them if needed. It returns nil if they do not start.
func (r *run) pair(b batch) *pair {
	name := b.configuration
	if b.flood {
		name = fmt.Sprintf("flood %d", b.seed%floodPairs)
	}
	r.mu.Lock()
	p := r.pairs[name]
	if p == nil {
		p = &pair{ready: make(chan struct{})}
		r.pairs[name] = p
		// Each pair of servers belongs to a subtest of its own. The subtest does not fail if there are differences, so
		// that the test does not print the logs of all servers.
		r.servers.Go(func() {
			r.t.Run(name, func(t *testing.T) {
				started := false
				defer func() {
					if !started {
						close(p.ready)
					}
				}()
				sides := startSides(t, r.all[b.configuration], r.clients)
				p.comparison, p.http2 = newComparison(console{r.t}, b.configuration, r.known, sides),
					sides[0].peer.OffersHTTP2()
				p.comparison.keep = keepDiffered(b.configuration)
				warmUp(t, sides)
				started = true
				close(p.ready)
				<-r.end
			})
		})
	}
	r.mu.Unlock()
	select {
	case <-p.ready:
	case <-r.stop:
		return nil
	}
	if p.comparison == nil {
		r.finish("the servers of " + name + " did not start")
		return nil
	}
	return p
}

// warmUp sends the same requests to both servers until the metrics of both contain the metric of durations. A server
// adds this metric soon after its first answer.
func warmUp(t testing.TB, sides [2]*side) {
	talk := conversation{ReadOnly: true, As: "no-credential",
		Requests: []request{{Method: "GET", Path: "/metrics", Header: hangUp}}}
	expect.Eventually(t, recordings.Patience, "both servers count durations", func() string {
		missing := ""
		for _, s := range sides {
			if seen := talk.Hold(s.peer)[0]; !strings.Contains(seen.Body, "kubelet_http_requests_duration_seconds") {
				missing = s.kind + ": " + seen.Failed + seen.Status
			}
		}
		return missing
	})
}

// console prints the failures of a comparison at once.
type console struct{ testing.TB }

func (c console) Errorf(format string, args ...any) {
	c.TB.Fail()
	fmt.Fprintf(os.Stderr, "\ndifferent: "+format+"\n", args...)
}

func (c console) Logf(string, ...any) {}

// compareSeries compares the values of the metrics of each pair of servers.
func (r *run) compareSeries() {
	if r.stopping() {
		return
	}
	var all sync.WaitGroup
	for _, p := range r.pairs {
		all.Go(func() {
			if !p.comparison.series() {
				r.mu.Lock()
				r.differences++
				r.mu.Unlock()
			}
		})
	}
	all.Wait()
}

// progress prints the progress every ten seconds.
func (r *run) progress() {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.mu.Lock()
			rate := float64(r.sent) / time.Since(r.began).Seconds()
			fmt.Fprintf(os.Stderr, "%d of %d requests, %.0f per second, %d differences, seeds %d to %d, %v\n", r.sent,
				r.want, rate, r.differences, r.first, r.next-1, time.Since(r.began).Round(time.Second))
			r.mu.Unlock()
		case <-r.end:
			return
		}
	}
}

func (r *run) result() {
	var text strings.Builder
	last := r.next
	for seed := range r.underWay {
		last = min(last, seed)
	}
	spent := time.Since(r.began)
	fmt.Fprintf(&text, "\n%d of %d requests compared in %v (%.0f per second), SEED=%d, %d differences\n", r.sent,
		r.want, spent.Round(time.Second), float64(r.sent)/spent.Seconds(), r.first, r.differences)
	for _, name := range sortedKeys(r.kinds) {
		fmt.Fprintf(&text, "  %9d %s\n", r.kinds[name], name)
	}
	fmt.Fprintf(&text, "  by Status: %v\n  by route: %v\n  by Connection: %v\n  by reason without a response: %v\n",
		r.counts.by["status"], r.counts.by["route"], r.counts.by["connection"], r.counts.by["failed"])
	if r.stopped != "" {
		fmt.Fprintf(&text, "%s; go on with: make compare N=%d SEED=%d\n", r.stopped, max(r.want, r.sent)-r.sent, last)
		r.t.Fail()
	}
	fmt.Fprint(os.Stderr, text.String())
}
