package shell

import (
	"fmt"
	"sync/atomic"
)

// account counts either bytes of memory or running commands, and has a limit. Each container has an account of both
// kinds, and the process has an account of both kinds for all containers together. The numbers of bytes are estimates,
// which are higher than the real use rather than lower.
type account struct {
	limit int64
	full  string // the error when the limit is reached
	used  atomic.Int64
	in    *account // the account of the process, or nil
}

const (
	workMemory    = 16 << 20  // the memory of a container, in addition to the size of its file system
	processMemory = 512 << 20 // the memory of all containers of the process
	// The part of processMemory that files may use. The rest remains for commands, so that commands can still run, and
	// remove files, when files have used up their part.
	processFiles = processMemory / 4 * 3
)

// These are estimates of the memory that the parts of a running command use, in bytes.
const (
	sessionMemory   = 64 << 10
	commandMemory   = 64 << 10 // its buffers, without arguments and environment
	statementMemory = 8 << 10  // the Go stack of one level of nesting
	subshellMemory  = 8 << 10  // without its variables
	routineMemory   = 64 << 10 // a goroutine with its Go stack
	nodeOfScript    = 160      // a node of a parsed script
	byteOfScript    = 300      // a byte of a script, while it is parsed
	byteOfExpansion = 32       // a byte of an expansion: fields and arguments, and copies
	entryMemory     = 200      // a listed entry of a directory
	sortedMemory    = 64       // a line that sort keeps, without its text
	matchMemory     = 88       // a match in a line, without its groups
	byteOfLine      = 48       // a byte of an input line: fields, and copies
)

var (
	memoryOfProcess   = newMemory("all containers", processMemory, nil)
	filesOfProcess    = newFilesMemory(nil)
	commandsOfProcess = newCommands("all containers run", maxProcessCommands, nil)
)

func newMemory(of string, limit int, in *account) *account {
	return &account{limit: int64(limit), in: in,
		full: fmt.Sprintf("the commands and files of %s use more than %s", of, sizeText(limit))}
}

// newFilesMemory returns an account for the files of a container, which has no limit of its own.
func newFilesMemory(in *account) *account {
	return &account{limit: processFiles, in: in,
		full: "the files of all containers use more than " + sizeText(processFiles)}
}

func newCommands(of string, limit int, in *account) *account {
	return &account{limit: int64(limit), in: in,
		full: fmt.Sprintf("resource temporarily unavailable: %s %d commands", of, limit)}
}

// take adds to the account. If a limit would be exceeded, it adds nothing and returns an error that names the limit.
func (a *account) take(n int) error {
	if a == nil {
		return nil
	}
	if a.used.Add(int64(n)) > a.limit {
		a.used.Add(-int64(n))
		return fault(a.full)
	}
	if err := a.in.take(n); err != nil {
		a.used.Add(-int64(n))
		return err
	}
	return nil
}

func (a *account) give(n int) {
	for ; a != nil; a = a.in {
		a.used.Add(-int64(n))
	}
}

// take adds a number of bytes to the memory of a session. If the container or the process would exceed its limit, take
// ends the session and returns false. Memory that is not given back earlier is released at the end of the session.
func (s *session) take(n int) bool {
	if err := s.container.memory.take(n); err != nil {
		s.fail("sh: out of memory: "+err.Error(), 2)
		return false
	}
	s.held.Add(int64(n))
	return true
}

func (s *session) give(n int) {
	s.held.Add(-int64(n))
	s.container.memory.give(n)
}

// take adds a number of bytes to the memory of a command or shell, until it ends. It returns false if there is not
// enough memory. The command must then end.
func (p *process) take(n int) bool {
	if !p.session.take(n) {
		return false
	}
	p.held += n
	return true
}

// giveBack releases memory of the command, so that p.held has the value "to" again, which the caller has read earlier.
func (p *process) giveBack(to int) {
	p.session.give(p.held - to)
	p.held = to
}
