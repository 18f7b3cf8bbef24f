package server

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
)

// recheck is how often followed files are read although no change was reported. Changes are not reported on some
// network file systems, and if a folder above the file's folder is replaced.
const recheck = time.Second

// followFiles reads a certificate or CA again when its files change, until ctx is done. If the files are missing or
// invalid, the last valid state stays in use.
//
// It replaces the Run method of the content, which watches only the files. If a file is removed, Run does not watch it
// again for a minute, as in a kubelet, and a replaced CA would be accepted for as long.
func (s *Server) followFiles(ctx context.Context, content dynamiccertificates.ControllerRunner, files ...string) {
	defer content.Run(ctx, 1) // ctx is done, so Run only ends the goroutine of the content's queue
	failure := ""
	read := func() {
		err := content.RunOnce(ctx)
		switch {
		case err == nil:
			failure = ""
		case failure != err.Error(): // log each failure once
			failure = err.Error()
			s.logger.Warn("cannot read changed files; their last valid state stays in use",
				zap.Strings("files", files), zap.Error(err))
		}
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) { watchFolders(ctx, read, files) }, recheck)
}

// watchFolders calls "read" at once, when something changes in the folders of the files, and at least every recheck. It
// returns if a folder can no longer be watched, or when ctx is done.
func watchFolders(ctx context.Context, read func(), files []string) {
	var changed chan fsnotify.Event
	if watcher, err := fsnotify.NewWatcher(); err == nil {
		defer watcher.Close()
		changed = watcher.Events
		for _, file := range files {
			if watcher.Add(filepath.Dir(file)) != nil {
				changed = nil // the files are read every recheck
			}
		}
	}
	read()
	timer := time.NewTicker(recheck)
	defer timer.Stop()
	for {
		select {
		case event, open := <-changed:
			if !open {
				return
			}
			read()
			for _, file := range files {
				if event.Name == filepath.Dir(file) { // the folder was moved or removed, so it must be watched again
					return
				}
			}
		case <-timer.C:
			read()
		case <-ctx.Done():
			return
		}
	}
}
