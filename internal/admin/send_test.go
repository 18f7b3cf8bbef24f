package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"fauxlet/authchain"
	"fauxlet/internal/admin"
	"fauxlet/internal/decisions"
	"fauxlet/internal/explain"
	"fauxlet/internal/explain/offline"
)

// fakeNode implements WhatIf and Sender, and records the calls of Explain.
type fakeNode struct {
	recorder *decisions.Recorder
	calls    []string
}

func (f *fakeNode) Settings(node string) ([]offline.Setting, error) {
	return []offline.Setting{{Field: "authorization.mode", Values: []string{"Webhook", node}}}, nil
}

func (f *fakeNode) Explain(
	_ context.Context, node string, d *authchain.Decision, set map[string]string) (explain.Explanation, error) {
	f.calls = append(f.calls, fmt.Sprint(node, d.Path, set))
	if len(set) == 0 {
		return explain.Explanation{}, errors.New("set is empty")
	}
	return explain.Explanation{Outcome: explain.Allowed, Status: 200}, nil
}

func (f *fakeNode) Clients() []admin.SendClient {
	return []admin.SendClient{{Name: "viewer", Description: "a client certificate"}}
}

func (f *fakeNode) Send(_ context.Context, request admin.SendRequest) (*admin.SendResult, error) {
	if request.Client != "viewer" {
		return nil, fmt.Errorf("no client is named %q", request.Client)
	}
	record := f.recorder.For("node-1")
	record(&authchain.Decision{Path: "/another", Remote: "192.0.2.1:9", Status: 200})
	record(&authchain.Decision{Method: request.Method, Path: request.Path, Remote: "192.0.2.1:1", Status: 403})
	return &admin.SendResult{Status: 403, Remote: "192.0.2.1:1", Body: "Forbidden"}, nil
}

func TestWhatIfAndSend(t *testing.T) {
	node := &fakeNode{recorder: decisions.NewRecorder(0)}
	_, base := serve(t, admin.Options{Recorder: node.recorder, WhatIf: node, Sender: node})
	node.recorder.For("node-1")(&authchain.Decision{Method: "GET", Path: "/pods", Status: 401})
	tooLong := strings.Repeat("x", 100<<10)
	for _, test := range []struct{ target, body, want string }{
		{"GET /api/build", "", `"whatIf":true,"send":true`},
		{"GET /api/decisions/1/settings", "",
			`{"settings":[{"field":"authorization.mode","values":["Webhook","node-1"]}]}`},
		{"GET /api/decisions/7/settings", "", `decision 7 is no longer kept, or does not exist; the last one is 1`},
		{"GET /api/decisions/first/settings", "", `\"first\" is not a decision ID, which is a number`},
		{"POST /api/whatif", `{"decision":1,"set":{"authorization.mode":"AlwaysAllow"}}`,
			`"whatIf":{"stages":null,"outcome":"allowed","status":200,"reason":""}`},
		{"POST /api/whatif", `{"decision":1}`, `set is empty`},
		{"POST /api/whatif", `{"decision":7}`, `decision 7 is no longer kept`},
		{"POST /api/whatif", `{"decision":1,"sets":{}}`, `invalid request body: json: unknown field \"sets\"`},
		{"POST /api/whatif", `{"decision":1,"set":{"x":"` + tooLong + `"}}`, `request body too large`},
		{"GET /api/clients", "", `{"clients":[{"name":"viewer","description":"a client certificate"}]}`},
		{"POST /api/send", `{"client":"viewer","method":"GET","path":"/pods"}`,
			`{"decision":3,"status":403,"body":"Forbidden","remote":"192.0.2.1:1"}`},
		{"POST /api/send", `{"client":"other","method":"GET","path":"/pods"}`, `no client is named \"other\"`},
	} {
		method, path, _ := strings.Cut(test.target, " ")
		_, body := ask(t, method, base+path, test.body, "Content-Type: application/json")
		if !json.Valid([]byte(body)) || !strings.Contains(body, test.want) {
			t.Errorf("%s %.100s: %s, want %s in it", test.target, test.body, body, test.want)
		}
	}
	want := "node-1/podsmap[authorization.mode:AlwaysAllow]; node-1/podsmap[]"
	if got := strings.Join(node.calls, "; "); got != want {
		t.Errorf("calls %s, want %s", got, want)
	}
}

func TestWhatIfAndSendAreProtected(t *testing.T) {
	node := &fakeNode{recorder: decisions.NewRecorder(0)}
	_, base := serve(t, admin.Options{Recorder: node.recorder, WhatIf: node, Sender: node})
	for _, path := range []string{"/api/whatif", "/api/send"} {
		for _, header := range []string{"Origin: http://evil.example", "Sec-Fetch-Site: cross-site",
			"Host: evil.example"} {
			response, _ := ask(t, "POST", base+path, `{"decision":1}`, "Content-Type: application/json", header)
			if response.StatusCode != 403 {
				t.Errorf("%s with %s: %s", path, header, response.Status)
			}
		}
		response, _ := ask(t, "POST", base+path, `{"decision":1}`, "Content-Type: text/plain")
		if response.StatusCode != 415 {
			t.Errorf("%s as text: %s", path, response.Status)
		}
	}
}
