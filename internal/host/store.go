package host

import (
	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// NewStore makes a store of pods whose commands run in the fake shell. See [pods.NewStore].
func NewStore(all ...scenario.Pod) (*pods.Store, error) {
	return pods.NewStoreWith(shell.Executor{}, all...)
}
