// Package fakeshell gives kubelets of package kubelettest a shell for exec requests. It is a package of its own
// because it links a shell interpreter, which most tests do not need.
package fakeshell

import (
	"fauxlet/internal/shell"
	"fauxlet/kubelettest"
)

// Option makes exec requests without a scripted answer run in a fake POSIX shell. The shell has its own files in
// memory and some seventy commands. It runs no program of the host, opens none of its files and no socket. Files that
// a command writes stay until the kubelet stops.
func Option() kubelettest.Option { return kubelettest.WithExecutor(shell.Executor{}) }
