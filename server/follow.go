package server

import (
	"context"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// recheck is how often followed files are read. A change takes effect within this time. Unlike notifications from the
// kernel, reading also finds changes on network file systems and in replaced folders.
const recheck = time.Second

// followFiles reads a certificate or CA again and again, until ctx is done. If the files are missing or invalid, the
// last valid state stays in use.
//
// It replaces the Run method of the content, which watches only the files. If a file is removed, Run does not watch it
// again for a minute, as in a kubelet, and a replaced CA would be accepted for as long.
func (s *Server) followFiles(ctx context.Context, content dynamiccertificates.ControllerRunner, files ...string) {
	// ctx is done when Run begins, so Run only ends the goroutine of the content's queue. There is no other way to end
	// it. Run also logs that a controller starts and shuts down.
	defer content.Run(ctx, 1)
	failure := ""
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		err := content.RunOnce(ctx)
		switch {
		case err == nil:
			failure = ""
		case failure != err.Error(): // log each failure once
			failure = err.Error()
			s.logger.Warn("cannot read changed files; their last valid state stays in use",
				zap.Strings("files", files), zap.Error(err))
		}
	}, recheck)
}
