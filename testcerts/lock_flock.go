//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package testcerts

import (
	"os"
	"syscall"
)

// The function "lock" waits until it has locked the folder for this process alone. The kernel unlocks the folder when
// the process ends, even if it crashes.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for err = syscall.EINTR; err == syscall.EINTR; {
		err = syscall.Flock(int(d.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return func() { d.Close() }, nil
}
