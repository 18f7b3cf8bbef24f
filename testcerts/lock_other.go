//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package testcerts

import "sync"

var inProcess sync.Mutex

// The function "lock" excludes other goroutines of this process, but not other processes: the system has no flock.
func lock(string) (unlock func(), err error) {
	inProcess.Lock()
	return inProcess.Unlock, nil
}
