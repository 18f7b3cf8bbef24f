package decisions_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fauxlet/authchain"
	"fauxlet/internal/decisions"
	"fauxlet/testcerts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func decision(path string) *authchain.Decision {
	return &authchain.Decision{Time: time.Now(), Remote: "127.0.0.1:1", Method: "GET", Path: path, Status: 200}
}

func ids(entries []*decisions.Entry) []uint64 {
	var all []uint64
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return all
}

func TestRecorderKeepsLastDecisions(t *testing.T) {
	r := decisions.NewRecorder(3)
	one, two := r.For("node-1"), r.For("node-2")
	if entries, upTo := r.After(0); entries != nil || upTo != 0 {
		t.Errorf("an empty Recorder returned %v up to ID %d", entries, upTo)
	}
	one(decision("/1"))
	two(decision("/2"))
	if entries, upTo := r.After(0); !slices.Equal(ids(entries), []uint64{1, 2}) || upTo != 2 ||
		entries[0].Node != "node-1" || entries[1].Node != "node-2" {
		t.Errorf("After returned the IDs %v up to ID %d", ids(entries), upTo)
	}
	for i := 3; i <= 5; i++ {
		one(decision(fmt.Sprint("/", i)))
	}
	for after, want := range map[uint64][]uint64{0: {3, 4, 5}, 2: {3, 4, 5}, 3: {4, 5}, 5: nil, 9: nil,
		math.MaxUint64: nil} {
		if entries, upTo := r.After(after); !slices.Equal(ids(entries), want) || upTo != max(5, after) {
			t.Errorf("after ID %d: IDs %v up to ID %d, want %v", after, ids(entries), upTo, want)
		}
	}
	if e := r.Get(4); e == nil || e.Decision.Path != "/4" {
		t.Errorf("the Entry with ID 4 is %+v", e)
	}
	for _, id := range []uint64{0, 2, 6} {
		if e := r.Get(id); e != nil {
			t.Errorf("the Entry with ID %d is %+v", id, e)
		}
	}
}

// TestRecorderLimitsMemory checks that a Recorder keeps fewer Decisions when they are large, and always keeps the
// newest one.
func TestRecorderLimitsMemory(t *testing.T) {
	const size, bound = 100, 100 * 16 << 10
	r := decisions.NewRecorder(size)
	record := r.For("node-1")
	long := strings.Repeat("x", 200<<10)
	for range 1000 {
		record(decision(long))
		if r.Bytes() > bound {
			t.Fatalf("the Recorder keeps %d bytes, want at most %d", r.Bytes(), bound)
		}
	}
	entries, upTo := r.After(0)
	if len(entries) != 7 || upTo != 1000 || entries[6].ID != 1000 {
		t.Errorf("After returned the IDs %v up to ID %d", ids(entries), upTo)
	}
	record(decision(strings.Repeat("x", 2*bound)))
	if entries, _ := r.After(0); !slices.Equal(ids(entries), []uint64{1001}) {
		t.Errorf("after an Entry larger than the limit, the IDs %v are kept", ids(entries))
	}
	for range 2 * size {
		record(decision("/small"))
	}
	if entries, _ := r.After(0); len(entries) != size || r.Bytes() > size<<10 {
		t.Errorf("%d small Entries of %d bytes in total are kept", len(entries), r.Bytes())
	}
}

// TestFollower checks that a Follower returns Entries in order and counts the dropped ones.
func TestFollower(t *testing.T) {
	r := decisions.NewRecorder(10)
	record := r.For("node-1")
	record(decision("/before"))
	f := r.Follow(1)
	defer f.Close()
	go record(decision("/2"))
	if entries, dropped, err := f.Next(t.Context()); err != nil || dropped != 0 ||
		!slices.Equal(ids(entries), []uint64{2}) {
		t.Errorf("Next returned the IDs %v, %d dropped, error %v", ids(entries), dropped, err)
	}
	for range 25 {
		record(decision("/many"))
	}
	if entries, dropped, err := f.Next(t.Context()); err != nil || dropped != 15 || len(entries) != 10 ||
		entries[9].ID != 27 {
		t.Errorf("Next returned the IDs %v, %d dropped, error %v", ids(entries), dropped, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := f.Next(ctx); err != context.Canceled {
		t.Errorf("unexpected error: %v", err)
	}
}

// TestWait checks that after a call of Wait the next call continues with the Entry after the returned one.
func TestWait(t *testing.T) {
	r := decisions.NewRecorder(10)
	record := r.For("node-1")
	f := r.Follow(r.LastID())
	defer f.Close()
	for _, remote := range []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"} {
		d := decision("/pods")
		d.Remote = remote
		go record(d)
		if e, err := f.Wait(t.Context(), decisions.From(remote)); err != nil || e.Decision != d {
			t.Errorf("Wait for %s returned %+v, error %v", remote, e, err)
		}
	}
	record(decision("/a"))
	record(decision("/b"))
	for _, path := range []string{"/a", "/b"} {
		e, err := f.Wait(t.Context(), func(*decisions.Entry) bool { return true })
		if err != nil || e.Decision.Path != path {
			t.Errorf("Wait returned %+v, error %v, want the path %s", e, err, path)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Wait(ctx, decisions.From("192.0.2.1:4")); err != context.Canceled {
		t.Errorf("unexpected error: %v", err)
	}
}

// TestConcurrentRecordersAndFollowers checks that each Follower returns each Entry once and in order, or counts it
// as dropped.
func TestConcurrentRecordersAndFollowers(t *testing.T) {
	const recording, following, each = 8, 4, 5000
	for _, size := range []int{1, 7, recording * each} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			r := decisions.NewRecorder(size)
			var readers, writers sync.WaitGroup
			for range following {
				f := r.Follow(0)
				readers.Go(func() {
					defer f.Close()
					var last, seen, missed uint64
					for last < recording*each {
						entries, dropped, err := f.Next(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						missed += dropped
						for _, e := range entries {
							if e.ID <= last {
								t.Errorf("ID %d was returned after ID %d", e.ID, last)
							}
							last = e.ID
						}
						seen += uint64(len(entries))
						if seen+missed >= recording*each {
							break
						}
					}
					if seen+missed != recording*each || size > each && missed > 0 {
						t.Errorf("the followers read %d Entries and missed %d", seen, missed)
					}
				})
			}
			for range recording {
				writers.Go(func() {
					record := r.For("node")
					for range each {
						record(decision("/"))
					}
				})
			}
			writers.Wait()
			readers.Wait()
			entries, upTo := r.After(0)
			if upTo != recording*each || len(entries) > size || size > 1 && len(entries) == 0 {
				t.Errorf("%d Entries are kept, up to ID %d", len(entries), upTo)
			}
			var bytes int64
			if n := len(entries); n > 0 {
				bytes = r.Bytes() / int64(n)
			}
			if bytes < 700 || bytes > 800 {
				t.Errorf("an Entry takes %d bytes", bytes)
			}
		})
	}
}

func TestRecordingDoesNotWaitForFollowers(t *testing.T) {
	r := decisions.NewRecorder(10)
	record := r.For("node-1")
	f := r.Follow(0)
	defer f.Close()
	d := decision("/")
	if allocations := testing.AllocsPerRun(1000, func() { record(d) }); allocations > 1 {
		t.Errorf("%v allocations for each recorded Decision", allocations)
	}
}

// TestMemoryIsBounded checks that a full Recorder uses no more memory for new Decisions, although each of them refers
// to the certificates of a different connection.
func TestMemoryIsBounded(t *testing.T) {
	ca, err := testcerts.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.Client("kubelet-client", nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := client.TLS().Certificate[0]
	r := decisions.NewRecorder(1000)
	record := r.For("node-1")
	var parsed atomic.Int64
	fill := func(n int) uint64 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range n / 4 {
					certificate, err := x509.ParseCertificate(raw)
					if err != nil {
						t.Error(err)
						return
					}
					d := decision("/containerLogs/default/nginx/nginx")
					d.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}
					d.Authentication = []authchain.Step{{Method: authchain.MethodX509,
						Outcome: authchain.OutcomeAuthenticated}}
					record(d)
					parsed.Add(1)
				}
			})
		}
		all.Wait()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	full := fill(2000)
	after := fill(40_000)
	const may = 512 << 10
	if after > full+may {
		t.Errorf("%d KiB are in use after %d Decisions, but %d KiB when the Recorder was first full", after>>10,
			parsed.Load(), full>>10)
	}
	if entries, _ := r.After(0); len(entries) != 1000 {
		t.Errorf("%d Entries are kept", len(entries))
	}
	// The estimated size of a Decision must be close to its real size.
	kept := float64(r.Bytes())
	for i := range 1000 {
		r.For("node-1")(decision(fmt.Sprint("/", i)))
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if freed := float64(after) - float64(m.HeapAlloc); freed < 0.3*kept || freed > 1.5*kept {
		t.Errorf("the Decisions took %.0f KiB, but their estimated size is %.0f KiB", freed/1024, kept/1024)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
