package main

import (
	"context"
	"fmt"

	"fauxlet/authchain"
	"fauxlet/internal/admin"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/reviewapi"
)

// asking is what the trace can be asked beside what was decided.
type asking struct {
	// reviewer answers reviews in this process, sent has requests that are known in full, and visitors send some. They are
	// a demo's, and nil elsewhere.
	reviewer *reviewapi.Server
	sent     func(*authchain.Decision) *offline.Request
	visitors admin.Visitors
}

// suppositions answer what if, about the nodes of this process.
type suppositions struct{ k *kubelets }

func (s suppositions) of(node string) (offline.WhatIf, error) {
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	known := s.k.all[node]
	if known == nil {
		return offline.WhatIf{}, fmt.Errorf("there is no node %q here any more", node)
	}
	return offline.WhatIf{Config: known.cfg, Reviewer: s.k.asking.reviewer, Pods: known.store}, nil
}

func (s suppositions) Settings(node string) ([]admin.Setting, error) {
	whatIf, err := s.of(node)
	if err != nil {
		return nil, err
	}
	var settings []admin.Setting
	for _, one := range whatIf.Switches() {
		settings = append(settings, admin.Setting(one))
	}
	return settings, nil
}

func (s suppositions) Ask(ctx context.Context, node string, d *authchain.Decision, set map[string]string) (explain.Road, error) {
	whatIf, err := s.of(node)
	if err != nil {
		return explain.Road{}, err
	}
	var sent *offline.Request
	if s.k.asking.sent != nil {
		sent = s.k.asking.sent(d)
	}
	return whatIf.Ask(ctx, d, sent, set)
}
