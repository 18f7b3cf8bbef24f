package kubelettest_test

import (
	"testing"

	"fauxlet/kubelettest"
)

// BenchmarkNew is what a stand-in costs a test: from New to a first answer, and its end.
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
