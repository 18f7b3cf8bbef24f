package recordings

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLoad loads all recordings. Each must have an answer to every request of its configurations.
func TestLoad(t *testing.T) {
	suite, err := LoadSuite()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(Minors(), "1.37") {
		t.Errorf("recordings of %q, want one of 1.37", Minors())
	}
	for _, minor := range Minors() {
		r, err := suite.Load(minor)
		if err != nil {
			t.Fatal(err)
		}
		requests, unknown := 0, 0
		for name, setup := range suite.Configurations {
			given, recorded := r.Given[name]
			if !recorded && r.Refused[name] == "" {
				t.Errorf("%s: no answers in configuration %s, and no reason", minor, name)
			}
			want := 0
			for _, c := range setup.Conversations {
				want += len(c.Requests)
			}
			if recorded && len(given) != want {
				t.Errorf("%s: %d answers in configuration %s, want %d", minor, len(given), name, want)
			}
			for _, index := range given {
				if requests++; index < 0 {
					unknown++
				}
			}
		}
		t.Logf("%s, %s: %d requests in %d configurations, %d without a recorded answer, %d different answers", r.Module,
			r.Date, requests, len(r.Given), unknown, len(r.Answers))
		if unknown*100 > requests {
			t.Errorf("%s: %d of %d requests have no recorded answer", minor, unknown, requests)
		}
	}
}

func TestLoadOfOtherRequests(t *testing.T) {
	_, err := (&Suite{hash: "other"}).Load("1.37")
	if err == nil || !strings.Contains(err.Error(), "1.37.json.gz was made with other requests than requests.json.gz; "+
		"run make record VERSION=1.37") {
		t.Errorf("error %v", err)
	}
}

// TestConversationInJSON writes and reads a conversation whose strings are not UTF-8.
func TestConversationInJSON(t *testing.T) {
	want := Conversation{As: "viewer", ReadOnly: true, Quick: true, Requests: []Request{
		{Method: "G\x00T", Path: "/l\xffgs/é\n", Protocol: "HTTP/1.0", Header: "A: \"b\"\r\n", Body: "\x80"},
		{Method: "GET", Path: "/pods"}}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Conversation
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read another conversation (-want +got):\n%s", diff)
	}
}

func TestWithoutGates(t *testing.T) {
	s := Setup{Settings: map[string]any{"port": 1, "featureGates": map[string]any{"A": true, "B": false}}}
	got := s.WithoutGates([]string{"A"})
	if diff := cmp.Diff(map[string]any{"port": 1, "featureGates": map[string]any{"B": false}},
		got.Settings); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if len(s.Settings["featureGates"].(map[string]any)) != 2 {
		t.Error("WithoutGates has changed its receiver")
	}
}

func TestSharedMetrics(t *testing.T) {
	want, got := Answer{Body: "# HELP a x\n# TYPE a counter\n"}, Answer{Body: "# HELP a x\n# HELP b x\n# TYPE a " +
		"counter\n"}
	want.SharedMetrics(&got)
	if got.Body != want.Body {
		t.Errorf("metrics %q, want %q", got.Body, want.Body)
	}
	missing := Answer{Body: "# HELP b x\n"}
	if want.SharedMetrics(&missing); len(want.Compare(&missing)) == 0 {
		t.Error("a missing metric is not a difference")
	}
}
