package recordings

import "testing"

func TestLengthOfMaskedBodies(t *testing.T) {
	for _, test := range []struct {
		method, target string
		code           int
		want           bool
	}{
		{"HEAD", "/metrics/slis", 200, true}, {"HEAD", "/metrics", 200, true}, {"HEAD", "/stats/summary", 200, true},
		{"HEAD", "/statusz?x", 200, true}, {"HEAD", "/debug/pprof/heap", 200, true},
		{"GET", "/metrics/slis", 200, false}, {"HEAD", "/metrics/slis", 403, false}, {"HEAD", "/pods", 200, false},
		{"HEAD", "/healthz", 200, false},
	} {
		if got := lengthOfMasked(test.method, test.target, test.code); got != test.want {
			t.Errorf("%s %s, %d: %v", test.method, test.target, test.code, got)
		}
	}
}

// TestNames checks that a port number within another number stays: the generated requests have long numbers.
func TestNames(t *testing.T) {
	names := NewNames([]string{"/tmp/1/ca.crt", "/ca.crt"}, map[string]string{"23372": "10250", "40001": "10255"})
	const text = `{"clientCAFile":"/tmp/1/ca.crt","port":23372,"readOnlyPort":40001} node-1:23372 seconds=9223372037`
	const want = `{"clientCAFile":"/ca.crt","port":10250,"readOnlyPort":10255} node-1:10250 seconds=9223372037`
	if got := names.Replace(text); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
