//go:build !before136

package main

import (
	"context"
	"io"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/cri-client/pkg/logs"
)

func readLogs(ctx context.Context, file, id string, options *v1.PodLogOptions, stdout, stderr io.Writer) error {
	asked := &logs.LogOptions{
		TailLines: options.TailLines, LimitBytes: options.LimitBytes, Follow: options.Follow,
		Timestamp: options.Timestamps,
	}
	if options.SinceSeconds != nil {
		asked.Since = time.Now().Add(-time.Duration(*options.SinceSeconds) * time.Second)
	}
	if options.SinceTime != nil && options.SinceTime.After(asked.Since) {
		asked.Since = options.SinceTime.Time
	}
	return logs.ReadLogs(ctx, file, id, asked, runtime{}, stdout, stderr)
}
