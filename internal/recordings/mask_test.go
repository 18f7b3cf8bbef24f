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
