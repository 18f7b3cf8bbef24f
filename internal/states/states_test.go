package states

import (
	"context"
	"slices"
	"testing"
)

func TestWait(t *testing.T) {
	var list List[int]
	first := list.Add(1)
	go func() {
		list.Add(2)
		list.Update(func() { *first = 3 })
	}()
	want := []int{3, 2}
	got, ok := list.Wait(t.Context(), func(all []int) bool { return slices.Equal(all, want) })
	if !ok || !slices.Equal(got, want) || !slices.Equal(list.All(), want) {
		t.Errorf("Wait returned %v and %v, want %v and true", got, ok, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan struct{})
	go func() { <-waiting; cancel() }()
	got, ok = list.Wait(ctx, func([]int) bool {
		select {
		case <-waiting:
		default:
			close(waiting)
		}
		return false
	})
	if ok || !slices.Equal(got, want) {
		t.Errorf("after its context is done, Wait returned %v and %v, want %v and false", got, ok, want)
	}
}
