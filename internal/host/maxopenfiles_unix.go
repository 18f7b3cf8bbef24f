//go:build unix

package host

import (
	"math"
	"syscall"
)

// maxOpenFiles returns the limit of open files of the process, or 0 if there is none. Package os has already raised the
// soft limit to the hard limit.
func maxOpenFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || uint64(limit.Cur) > math.MaxInt32 {
		return 0
	}
	return int(limit.Cur)
}
