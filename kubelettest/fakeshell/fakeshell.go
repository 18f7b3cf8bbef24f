// Package fakeshell gives kubelets of package kubelettest a shell for exec requests. It is a separate package
// because it links a shell interpreter, and most tests do not need one.
package fakeshell

import (
	"fauxlet/internal/shell"
	"fauxlet/kubelettest"
)

// Option runs the commands of exec requests in a fake POSIX shell if the scenario has no answer for them. The shell
// has about sixty commands, and keeps its files in memory until the kubelet stops. It runs no programs of the host,
// opens no files of the host, and opens no sockets.
func Option() kubelettest.Option { return kubelettest.WithExecutor(shell.Executor{}) }
