package main

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

// TestLibrariesTellNoToken: what a reviewer says, which may be the token, and what client-go sends, which has it, are
// not logged at any verbosity; what else the libraries say is.
func TestLibrariesTellNoToken(t *testing.T) {
	t.Cleanup(klog.ClearLogger)
	var b bytes.Buffer
	flags := logFlags{format: "json"}
	if _, err := flags.newLogger(&b, 10); err != nil {
		t.Fatal(err)
	}
	klog.Errorf("Failed to make webhook authenticator request: the proxy refuses %s", "s3cret")
	klog.V(8).InfoS("Request Body", "body", "s3cret")
	klog.V(7).InfoS("something", "harmless", "yes")
	klog.Flush()
	out := b.String()
	if strings.Contains(out, "s3cret") {
		t.Errorf("there is a token in %s", out)
	}
	for _, want := range []string{failedReview, `"harmless":"yes"`, `"from":"kubernetes"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
}
