package faults_test

import (
	"strings"
	"testing"

	"fauxlet/internal/faults"
)

func TestParseNamesTheWrongField(t *testing.T) {
	for name, test := range map[string]struct {
		json string
		want string // want is how the error begins; it is empty if no error is expected
	}{
		"least": {`{"kind": "connection-refused"}`, ""},
		"all of a scope": {`{"name": "x", "kind": "status", "status": 503, "body": "no", "node": "n-*", ` +
			`"route": "/exec/**", "method": "POST", ` +
			`"user": "system:*", "group": "system:[a-m]*", ` +
			`"namespace": "default", "pod": "web-?", "container": "*", "count": 3, "share": 0.5, "seed": 7}`, ""},
		"certificate": {`{"kind": "serving-certificate", "certificate": "server-expired", "share": 1}`, ""},
		"cut at once": {`{"kind": "cut"}`, ""},
		"other user": {`{"kind": "reviewer-wrong", "answer": "other-user", "as": "eve", "user": "prom*"}`,
			""},
		"one review":    {`{"kind": "reviewer-slow", "delay": "2s", "review": "TokenReview"}`, ""},
		"behind":        {`{"kind": "clock-skew", "skew": "-36h"}`, ""},
		"memory":        {`{"kind": "memory-heavy", "memory": "3Gi", "namespace": "shop"}`, ""},
		"no JSON":       {`kind`, "invalid character"},
		"unknown field": {`{"kind": "cut", "bytes": 3}`, `unknown field "bytes"; correct the spelling`},
		"twice":         {`{"kind": "cut", "kind": "cut"}`, `duplicate field "kind"`},
		"case":          {`{"Kind": "cut"}`, `unknown field "Kind"`},
		"no kind": {`{}`,
			`kind: "" is not a kind of fault; the kinds are serving-certificate, connection-refused,`},
		"name": {`{"kind": "cut", "name": "A B"}`, `name: "A B": `},
		"no parameter": {`{"kind": "slow-body"}`,
			"rate: missing: the kind slow-body requires it (the network or the disk is slow"},
		"no certificate": {`{"kind": "serving-certificate"}`, "certificate: missing"},
		"a client's": {`{"kind": "serving-certificate", "certificate": "client-expired"}`,
			`certificate: "client-expired" is not a kind of serving certificate; the kinds are server, `},
		"another's parameter": {`{"kind": "cut", "delay": "1s"}`,
			"delay: 1s: the kind cut does not have this field; remove it (cut has the fields node, after, route, "},
		"another's scope": {`{"kind": "connection-reset", "user": "x"}`,
			`user: x: the kind connection-reset does not have this field; remove it ` +
				`(connection-reset has the fields node, count, share, seed)`},
		"no scope": {`{"kind": "connection-refused", "count": 1}`,
			"count: 1: the kind connection-refused does not have this field; remove it " +
				"(connection-refused has the fields node)"},
		"pod of a review": {`{"kind": "reviewer-down", "pod": "web"}`,
			"pod: web: the kind reviewer-down does not have"},
		"review of a request": {`{"kind": "cut", "review": "TokenReview"}`,
			"review: TokenReview: the kind cut does not have"},
		"delay": {`{"kind": "slow-handshake", "delay": "-1s"}`,
			"delay: -1s: must be more than 0 and at most 24h"},
		"long delay":          {`{"kind": "slow-handshake", "delay": "25h"}`, "delay: 25h0m0s: must be"},
		"rate":                {`{"kind": "slow-body", "rate": -1}`, "rate: -1: must be more than 0"},
		"after":               {`{"kind": "cut", "after": -1}`, "after: -1: must not be negative"},
		"status that lets in": {`{"kind": "status", "status": 200}`, "status: 200: must be from 400 to 599"},
		"answer": {`{"kind": "reviewer-wrong", "answer": "allow"}`,
			`answer: "allow": must be deny or other-user; a fault cannot allow what a reviewer denies`},
		"other user, but who": {`{"kind": "reviewer-wrong", "answer": "other-user"}`,
			`as: "": the answer other-user requires this field`},
		"deny as": {`{"kind": "reviewer-wrong", "as": "admin"}`,
			`as: "admin": the answer other-user requires this field, and no other answer allows it`},
		"other user of a right": {`{"kind": "reviewer-wrong", "answer": "other-user", "as": "x", ` +
			`"review": "SubjectAccessReview"}`,
			"review: SubjectAccessReview: with the answer other-user, set review to TokenReview or leave it out"},
		"skew":           {`{"kind": "clock-skew", "skew": "2000000h"}`, "skew: 2000000h0m0s: must be from"},
		"memory below 0": {`{"kind": "memory-heavy", "memory": "-1"}`, "memory: -1: must be"},
		"memory beyond sense": {`{"kind": "memory-heavy", "memory": "1Ei"}`,
			"memory: 1Ei: must be more than 0 and at most 256Ti"},
		"pattern": {`{"kind": "cut", "user": "[a"}`,
			`user: "[a": syntax error in pattern; a pattern may contain`},
		"route":  {`{"kind": "cut", "route": "exec"}`, `route: "exec": must begin with a slash`},
		"method": {`{"kind": "cut", "method": "get"}`, `method: "get": must be one of GET,`},
		"review": {`{"kind": "reviewer-down", "review": "token"}`,
			`review: "token": must be TokenReview or SubjectAccessReview`},
		"count":            {`{"kind": "cut", "count": -1}`, "count: -1: must not be negative"},
		"share":            {`{"kind": "cut", "share": 1.5}`, "share: 1.5: must be from 0 to 1"},
		"seed of no share": {`{"kind": "cut", "seed": 1}`, "seed: 1: has no effect without share"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := faults.Parse([]byte(test.json))
			switch {
			case err == nil && test.want != "":
				t.Errorf("no error, want %q", test.want)
			case err != nil && (test.want == "" || !strings.HasPrefix(err.Error(), test.want)):
				t.Errorf("error %q, want %q", err, test.want)
			}
		})
	}
}

func TestKindsAllowTheFieldsInTheirTable(t *testing.T) {
	values := map[string]string{
		"certificate": `"server"`, "delay": `"1s"`, "rate": `1`, "after": `1`, "status": `500`, "body": `"x"`,
		"answer": `"deny"`,
		"skew":   `"1s"`, "memory": `"1"`, "route": `"/x"`, "method": `"GET"`, "user": `"x"`, "group": `"x"`,
		"namespace": `"x"`, "pod": `"x"`, "container": `"x"`, "review": `"TokenReview"`, "count": `1`, "share": `0.5`,
	}
	for _, kind := range faults.Kinds() {
		if kind.Explains == "" {
			t.Errorf("the kind %s has no description", kind.Name)
		}
		allowed := map[string]bool{}
		fields := `"kind": "` + kind.Name + `", "node": "x"`
		for _, field := range append(kind.Requires, kind.Allows...) {
			allowed[field] = true
			if field == "seed" || field == "as" { // "seed" is valid only with "share", "as" only with "answer"
				continue
			}
			fields += `, "` + field + `": ` + values[field]
		}
		if _, err := faults.Parse([]byte("{" + fields + "}")); err != nil {
			t.Errorf("the kind %s with all its fields: %v", kind.Name, err)
		}
		for field, value := range values {
			if allowed[field] {
				continue
			}
			if _, err := faults.Parse([]byte("{" + fields + `, "` + field + `": ` + value + "}")); err == nil ||
				!strings.Contains(err.Error(), "the kind "+kind.Name+" does not have this field") {
				t.Errorf("the kind %s with the field %s, which it does not have: %v", kind.Name, field, err)
			}
		}
	}
}
