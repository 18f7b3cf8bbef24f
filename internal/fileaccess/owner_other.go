//go:build !unix

package fileaccess

import "io/fs"

const hasModes = false

func foreign(fs.FileInfo) bool { return false }
