package logging

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

// TestNoTokenIsLogged checks that the request body that client-go logs at the highest verbosity is not logged, because
// it may contain a token.
func TestNoTokenIsLogged(t *testing.T) {
	t.Cleanup(klog.ClearLogger)
	var b bytes.Buffer
	if _, err := New(&b, "json", 10); err != nil {
		t.Fatal(err)
	}
	klog.V(8).InfoS("Request Body", "body", "s3cret")
	klog.V(7).InfoS("something", "harmless", "yes")
	klog.Flush()
	out := b.String()
	if strings.Contains(out, "s3cret") {
		t.Errorf("a token was logged: %s", out)
	}
	for _, want := range []string{`"harmless":"yes"`, `"from":"kubernetes"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the log does not contain %q: %s", want, out)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	const want = `"xml": must be one of auto, console, json`
	if _, err := New(&bytes.Buffer{}, "xml", 0); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
