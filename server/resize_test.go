package server

import (
	"testing"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"

	"fauxlet/internal/pods"
)

// TestResizeNeverBlocks checks that a client's changes of its terminal size are accepted while nothing reads them, as
// in attach, and that the newest size is delivered.
func TestResizeNeverBlocks(t *testing.T) {
	resize := make(chan remotecommand.TerminalSize)
	converted := streams(nil, nil, nil, true, resize)
	for width := range uint16(4) {
		select {
		case resize <- remotecommand.TerminalSize{Width: width}:
		case <-time.After(30 * time.Second):
			t.Fatalf("size %d was not accepted", width)
		}
	}
	close(resize)
	var last pods.Size
	for last = range converted.Resize {
	}
	if last.Width != 3 {
		t.Errorf("the last size has the width %d, want 3", last.Width)
	}
}
