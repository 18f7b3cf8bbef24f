//go:build before136 && !before131

package main

import (
	"context"
	"io"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/cri-client/pkg/logs"
)

func readLogs(ctx context.Context, file, id string, options *v1.PodLogOptions, stdout, stderr io.Writer) error {
	return logs.ReadLogs(ctx, nil, file, id, logs.NewLogOptions(options, time.Now()), runtime{}, stdout, stderr)
}
