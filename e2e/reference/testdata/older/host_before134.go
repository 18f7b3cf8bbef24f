//go:build before134

package main

import "time"

func (h *host) GetHostname() string { return h.node }

// ResyncInterval and LatestLoopEntryTime describe a sync loop that has just run. (until 1.31)

func (h *host) ResyncInterval() time.Duration { return time.Minute }

func (h *host) LatestLoopEntryTime() time.Time { return time.Now() }
