// Package e2e holds fauxlet against the real thing: etcd, kube-apiserver and kubectl, and the kubelet's own server code
// (package reference), all built from their modules.
//
// The kubelet under test is `fauxlet serve`, or, with FAUXLET_E2E_KUBELET=reference, the reference, so that a claim can
// be proved of the one and of the other. What is built from modules is kept in the user's cache folder, or in
// FAUXLET_E2E_CACHE.
package e2e

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// scratch is for what all tests share. It is gone after the last of them.
var scratch string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fauxlet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	scratch = dir
	defer os.RemoveAll(dir)
	defer stopShared()
	return m.Run()
}

// shared are the processes that outlive a test. Etcd is not among them: an apiserver does not end without it.
var (
	shared   []*process
	sharedMu sync.Mutex
)

// outlives has a process stopped at the end.
func outlives(p *process) {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	shared = append(shared, p)
}

// stopShared stops what outlives tests, all at once, and then etcd.
func stopShared() {
	var group sync.WaitGroup
	stop := func(p *process) {
		if err := p.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
		}
	}
	for _, p := range shared {
		group.Go(func() { stop(p) })
	}
	group.Wait()
	if etcdProcess != nil {
		stop(etcdProcess)
	}
}

// progress tells the person who waits what for.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "e2e: "+format+"\n", args...)
}
