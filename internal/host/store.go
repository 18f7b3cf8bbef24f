package host

import (
	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// NewStore makes a store of pods. If a user executes a command in a container of these pods, the fake shell of package
// shell runs the command. See [pods.NewStore].
func NewStore(all ...scenario.Pod) (*pods.Store, error) {
	return pods.NewStoreWith(shell.Executor{}, all...)
}
