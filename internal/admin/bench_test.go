package admin_test

import (
	"testing"

	"fauxlet/internal/admin"
)

// BenchmarkRecord is what a request pays for being kept.
func BenchmarkRecord(b *testing.B) {
	record := admin.NewRecorder(0).For("node-1")
	d := decision("/containerLogs/default/nginx/nginx")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			record(d)
		}
	})
}
