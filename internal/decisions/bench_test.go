package decisions_test

import (
	"testing"

	"fauxlet/internal/decisions"
)

// BenchmarkRecord measures the time that recording a Decision adds to a request.
func BenchmarkRecord(b *testing.B) {
	record := decisions.NewRecorder(0).For("node-1")
	d := decision("/containerLogs/default/nginx/nginx")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			record(d)
		}
	})
}
