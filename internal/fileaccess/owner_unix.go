//go:build unix

package fileaccess

import (
	"io/fs"
	"os"
	"syscall"
)

const hasModes = true

// effectiveUser returns the ID of the user of this process. Tests that do not run as root cannot change the owner of a
// file, so they replace this variable.
var effectiveUser = os.Geteuid

// The function "foreign" reports whether a file belongs to another user than root and the user of this process.
func foreign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0 && int(stat.Uid) != effectiveUser()
}
