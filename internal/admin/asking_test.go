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
	"fauxlet/internal/explain"
)

// askedOf is a node that answers what if, and has visitors; it tells what it was asked.
type askedOf struct {
	recorder *admin.Recorder
	asked    []string
}

func (a *askedOf) Settings(node string) ([]admin.Setting, error) {
	return []admin.Setting{{Field: "authorization.mode", Values: []string{"Webhook", node}}}, nil
}

func (a *askedOf) Ask(_ context.Context, node string, d *authchain.Decision, set map[string]string) (explain.Road, error) {
	a.asked = append(a.asked, fmt.Sprint(node, d.Path, set))
	if len(set) == 0 {
		return explain.Road{}, errors.New("nothing is supposed")
	}
	return explain.Road{Verdict: explain.Allowed, Status: 200}, nil
}

func (a *askedOf) Visitors() []admin.Visitor {
	return []admin.Visitor{{Name: "viewer", Says: "who views"}}
}

func (a *askedOf) Send(_ context.Context, visit admin.Visit) (*admin.Visited, error) {
	if visit.As != "viewer" {
		return nil, fmt.Errorf("nobody is called %q", visit.As)
	}
	record := a.recorder.For("node-1")
	record(&authchain.Decision{Path: "/another", Remote: "192.0.2.1:9", Status: 200})
	record(&authchain.Decision{Method: visit.Method, Path: visit.Path, Remote: "192.0.2.1:1", Status: 403})
	return &admin.Visited{Status: 403, Remote: "192.0.2.1:1", Body: "Forbidden"}, nil
}

// TestAsking: what if, and what is sent, by way of the API.
func TestAsking(t *testing.T) {
	node := &askedOf{recorder: admin.NewRecorder(0)}
	_, base := serve(t, admin.Options{Recorder: node.recorder, WhatIf: node, Visitors: node})
	node.recorder.For("node-1")(&authchain.Decision{Method: "GET", Path: "/pods", Status: 401})
	for _, test := range []struct{ target, body, want string }{
		{"GET /api/build", "", `"whatIf":true,"send":true`},
		{"GET /api/decisions/1/settings", "", `{"settings":[{"field":"authorization.mode","values":["Webhook","node-1"]}]}`},
		{"GET /api/decisions/7/settings", "", `decision 7 is not kept, or was never made; the last is 1`},
		{"GET /api/decisions/first/settings", "", `\"first\" is not the id of a decision, which is a number`},
		{"POST /api/whatif", `{"decision":1,"set":{"authorization.mode":"AlwaysAllow"}}`, `"supposed":{"stops":null,"verdict":"allowed","status":200,"why":""}`},
		{"POST /api/whatif", `{"decision":1}`, `nothing is supposed`},
		{"POST /api/whatif", `{"decision":7}`, `decision 7 is not kept`},
		{"POST /api/whatif", `{"decision":1,"sets":{}}`, `what was sent cannot be read: json: unknown field \"sets\"`},
		{"POST /api/whatif", `{"decision":1,"set":{"x":"` + strings.Repeat("x", 100<<10) + `"}}`, `request body too large`},
		{"GET /api/visitors", "", `{"visitors":[{"name":"viewer","says":"who views"}]}`},
		{"POST /api/send", `{"as":"viewer","method":"GET","path":"/pods"}`, `{"decision":3,"status":403,"body":"Forbidden","remote":"192.0.2.1:1"}`},
		{"POST /api/send", `{"as":"somebody","method":"GET","path":"/pods"}`, `nobody is called \"somebody\"`},
	} {
		method, path, _ := strings.Cut(test.target, " ")
		_, body := ask(t, method, base+path, test.body, "Content-Type: application/json")
		if !json.Valid([]byte(body)) || !strings.Contains(body, test.want) {
			t.Errorf("%s %.100s: %s, want %s in it", test.target, test.body, body, test.want)
		}
	}
	if got, want := strings.Join(node.asked, "; "), "node-1/podsmap[authorization.mode:AlwaysAllow]; node-1/podsmap[]"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	for _, path := range []string{"/api/whatif", "/api/send"} {
		for _, header := range []string{"Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Host: evil.example"} {
			if response, _ := ask(t, "POST", base+path, `{"decision":1}`, "Content-Type: application/json", header); response.StatusCode != 403 {
				t.Errorf("%s with %s: %s", path, header, response.Status)
			}
		}
		if response, _ := ask(t, "POST", base+path, `{"decision":1}`, "Content-Type: text/plain"); response.StatusCode != 415 {
			t.Errorf("%s as text: %s", path, response.Status)
		}
	}
}
