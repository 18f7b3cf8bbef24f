// Package fakeshell provides a shell for exec requests to kubelets of package kubelettest. It is a separate package
// because it links a shell interpreter, which most tests do not need.
package fakeshell

import (
	"fauxlet/internal/shell"
	"fauxlet/kubelettest"
)

// Option returns a kubelettest.Option that runs commands of exec and run requests in a fake POSIX shell. The commands
// for which a pod defines an answer do not run in the shell. The shell has about sixty commands, and keeps its files in
// memory until the kubelet stops. It runs no programs of the host, opens no files of the host, and opens no sockets.
func Option() kubelettest.Option { return kubelettest.WithExecutor(shell.Executor{}) }
