//go:build !older

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestMain lets the test binary run as the child process that executes the kubelet for one case, as main does.
func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childArgs); ok {
		runChild(args)
		return
	}
	os.Exit(m.Run())
}

// TestCommittedFactsAreTheKubelets measures the required version of the kubelet, and compares the results with the
// data that package config embeds.
func TestCommittedFactsAreTheKubelets(t *testing.T) {
	got, err := measureFacts()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, "kubelet.json", "facts")
}

func TestCommittedLoadsAreTheKubelets(t *testing.T) {
	got, err := measureLoads()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, "testdata/loads.json", "loads")
}

func compare(t *testing.T, measured any, name, argument string) {
	t.Helper()
	got, err := encode(measured)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("..", "..", "config", name))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	at := 0
	for at < len(gotLines) && at < len(wantLines) && bytes.Equal(gotLines[at], wantLines[at]) {
		at++
	}
	line := func(lines [][]byte) []byte {
		if at < len(lines) {
			return lines[at]
		}
		return []byte("(end)")
	}
	t.Errorf("config/%s, line %d: committed %s, measured %s; in the folder e2e run go run ./kubeletfacts %s > "+
		"../config/%s",
		name, at+1, line(wantLines), line(gotLines), argument, name)
}
