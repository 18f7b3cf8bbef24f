package controlplane

import (
	"strings"
	"sync"
	"testing"
)

// instances is the largest number of control planes that Shared starts for one set of flags. While all of them are in
// use, the next test that calls Shared waits.
const instances = 2

// started is a control plane that Shared has started. One test after another uses it.
type started struct {
	plane *Plane
	user  string // user is the top-level test that uses the control plane, or empty if the control plane is free
	uses  int    // number of unfinished callers of Shared: this test and its subtests
}

var shared = struct {
	sync.Mutex
	freed  *sync.Cond
	byKey  map[string][]*started
	starts map[string]int // maps a key to the number of its control planes that run or start
}{byKey: map[string][]*started{}, starts: map[string]int{}}

func init() { shared.freed = sync.NewCond(&shared) }

// Shared returns a control plane whose kube-apiserver has the given flags. No other test uses the control plane until
// the calling test has ended. Subtests of one test get the same control plane. If a flag names a certificate or key by
// a relative path, the path is a file of the PKI. A test deletes the objects that it creates in the control plane.
//
// A test that needs two control planes at once must call Shared for the one with more flags first, so that two tests
// cannot wait for each other.
func Shared(t testing.TB, flags []string) *Plane {
	t.Helper()
	return SharedBy(t, strings.Join(flags, " "), func() (*Plane, error) {
		plane, err := Prepare(t, flags)
		if err == nil {
			err = plane.Start()
		}
		return plane, err
	})
}

// SharedBy is like Shared, but starts control planes with the given function. Tests that give the same key share
// control planes, so these tests must give equal functions.
func SharedBy(t testing.TB, key string, start func() (*Plane, error)) *Plane {
	t.Helper()
	user, _, _ := strings.Cut(t.Name(), "/")
	s, err := take(key, user, start)
	if err != nil {
		t.Fatalf("cannot start a control plane with %s: %v", key, err)
	}
	from := len(s.plane.APIServer.Out.String())
	t.Cleanup(func() {
		s.plane.APIServer.LogOnFailure(t, from)
		shared.Lock()
		defer shared.Unlock()
		if s.uses--; s.uses == 0 {
			s.user = ""
			shared.freed.Broadcast()
		}
	})
	return s.plane
}

// take returns a control plane for the top-level test whose name is the parameter "user". This is the control plane
// that the test already uses, or else a free one, or else a new one. If none is free and the maximum number has been
// started, take waits until one is free.
func take(key, user string, start func() (*Plane, error)) (*started, error) {
	shared.Lock()
	defer shared.Unlock()
	for {
		var free *started
		for _, s := range shared.byKey[key] {
			switch s.user {
			case user:
				s.uses++
				return s, nil
			case "":
				free = s
			}
		}
		if free != nil {
			free.user, free.uses = user, 1
			return free, nil
		}
		if shared.starts[key] < instances {
			return startOne(key, user, start)
		}
		shared.freed.Wait()
	}
}

// startOne starts a new control plane for the top-level test whose name is the parameter "user". The caller holds the
// lock; startOne releases it while the control plane starts.
func startOne(key, user string, start func() (*Plane, error)) (s *started, err error) {
	shared.starts[key]++
	shared.Unlock()
	defer func() {
		shared.Lock()
		if s == nil { // start returned an error or ended the test
			shared.starts[key]--
			shared.freed.Broadcast()
			return
		}
		shared.byKey[key] = append(shared.byKey[key], s)
	}()
	plane, err := start()
	if err != nil {
		return nil, err
	}
	return &started{plane: plane, user: user, uses: 1}, nil
}
