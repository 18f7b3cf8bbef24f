package host

import (
	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// NewStore makes a store of pods. If a client executes a command in one of them, the fake shell of package shell runs
// it. See [pods.NewStore].
func NewStore(all ...scenario.Pod) (*pods.Store, error) {
	return pods.NewStoreWith(shell.Executor{}, all...)
}
