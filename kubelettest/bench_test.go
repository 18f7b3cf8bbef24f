package kubelettest_test

import (
	"testing"

	"fauxlet/kubelettest"
)

// BenchmarkNew measures the time that a stand-in kubelet adds to a test: the time to start it, to send a first request,
// and to stop it.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		k := kubelettest.New(b)
		response, err := k.Client("kubelet-client").Get(k.URL + "/healthz")
		if err != nil {
			b.Fatal(err)
		}
		response.Body.Close()
		k.Close()
	}
}
