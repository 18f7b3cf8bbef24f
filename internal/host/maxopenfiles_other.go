//go:build !unix

package host

// maxOpenFiles returns 0, because this system has no limit of open files.
func maxOpenFiles() int { return 0 }
