package server

import (
	"context"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// recheck is the time between two reads of followed files, and so the longest time until a change takes effect. Reading
// the files finds more changes than notifications from the kernel would: changes on network file systems, and files in
// a folder that has been replaced.
const recheck = time.Second

// followFiles reads the files of a certificate or CA once every recheck, until ctx is done. If the files are missing or
// invalid, the last valid state stays in use.
//
// The method Run of "content" would do almost the same, but it watches only the files. After a file is removed, Run
// does not watch it for a minute, as in a kubelet. If the removed file was a CA that is then replaced, the old CA would
// be accepted for that minute.
func (s *Server) followFiles(ctx context.Context, content dynamiccertificates.ControllerRunner, files ...string) {
	// When Run is called, ctx is already done, so Run only ends the goroutine of the queue of "content". There is no
	// other way to end that goroutine. Run also logs that a controller starts and shuts down.
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
