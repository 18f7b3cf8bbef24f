package same

import (
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/internal/vectors"
)

// TestSameTooManyStreams sends 1,010 requests for streams that do not upgrade their connection, and compares all
// responses. A kubelet must refuse the last ten requests. The test starts servers of its own, because a kubelet then
// refuses all requests for streams for a minute.
func TestSameTooManyStreams(t *testing.T) {
	t.Parallel()
	corpus, err := vectors.Load()
	expect.NoError(t, err)
	how := allConfigurations(corpus)["defaults"]
	c := newComparison(t, "defaults", readDivergences(t), startSides(t, how, newClients(t, corpus)))
	paths := []string{"/exec/default/nginx/nginx?output=1", "/attach/default/nginx/nginx?output=1",
		"/portForward/default/nginx"}
	var all []conversation
	for range 101 { // the requests of the last conversation are refused
		talk := conversation{From: "toomany_test.go", As: "kubelet-client"}
		for i := range 10 {
			talk.Requests = append(talk.Requests, request{Method: "POST", Path: paths[i%len(paths)]})
		}
		all = append(all, talk)
	}
	c.run(all, how)
	c.summarize()
	if n := c.counts.by["status"]["429"]; n != 10 {
		t.Errorf("%d requests were answered with 429, want 10", n)
	}
}
