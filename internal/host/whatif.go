package host

import (
	"context"
	"fmt"

	"fauxlet/authchain"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
)

// whatIf computes for the admin API what a node would have decided with another configuration.
type whatIf struct{ host *Host }

func (w whatIf) of(name string) (offline.WhatIf, error) {
	n := w.host.node(name)
	if n == nil {
		return offline.WhatIf{}, fmt.Errorf("the node %q has been removed", name)
	}
	return offline.WhatIf{Config: n.config(), Reviewer: w.host.options.Admin.Reviewer, Pods: n.store}, nil
}

func (w whatIf) Settings(name string) ([]offline.Setting, error) {
	question, err := w.of(name)
	if err != nil {
		return nil, err
	}
	return question.Settings(), nil
}

func (w whatIf) Explain(ctx context.Context, name string, d *authchain.Decision,
	set map[string]string) (explain.Explanation, error) {
	question, err := w.of(name)
	if err != nil {
		return explain.Explanation{}, err
	}
	var sent *offline.Request
	if find := w.host.options.Admin.SentRequest; find != nil {
		sent = find(d)
	}
	return question.Explain(ctx, d, sent, set)
}
