package trace_test

import (
	"testing"

	"fauxlet/trace"
)

// BenchmarkRecord is what a request pays for being kept.
func BenchmarkRecord(b *testing.B) {
	record := trace.NewRecorder(0).For("node-1")
	d := decision("/containerLogs/default/nginx/nginx")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			record(d)
		}
	})
}
