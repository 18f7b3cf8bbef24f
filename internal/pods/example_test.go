package pods_test

import (
	"context"
	"fmt"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/pods"
	"fauxlet/scenario"
)

func Example() {
	start := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	store, err := pods.NewStore(scenario.Pod{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "nginx"},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "nginx"}}},
		},
		// A log of a billion lines takes no memory.
		Containers: map[string]scenario.Container{"nginx": {Log: scenario.Log{Lines: 1e9, Start: &start,
			Interval: metav1.Duration{Duration: time.Microsecond}}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	tail := int64(2)
	options := &v1.PodLogOptions{TailLines: &tail, Timestamps: true}
	if err := store.Logs(context.Background(), "default", "nginx", "nginx", options, os.Stdout, os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 2026-01-01T00:16:39.999998000Z 999999998 10.244.0.2 "GET /items/104 HTTP/1.1" 200 1450
	// 2026-01-01T00:16:39.999999000Z 999999999 10.244.0.62 "GET /login HTTP/1.1" 200 7878
}
