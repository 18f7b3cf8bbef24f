//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package testcerts

import "sync"

var inProcess sync.Mutex

// lock holds off the other goroutines of this process; there is no flock here to hold off other processes.
func lock(string) (unlock func(), err error) {
	inProcess.Lock()
	return inProcess.Unlock, nil
}
