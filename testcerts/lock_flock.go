//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package testcerts

import (
	"os"
	"syscall"
)

// lock waits for the exclusive lock of the folder. The kernel releases it when the process ends for any reason.
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
