package vectors

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"fauxlet/internal/faults"
)

const known = "configuration plain\nclient no-credential\nclient other-client\n"

func read(text string) (*Corpus, error) {
	return load(fstest.MapFS{"x.txt": {Data: []byte(text)}})
}

func TestLoad(t *testing.T) {
	corpus, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, c := range corpus.Cases {
		key := c.Name() + "\x00" + c.Protocol + "\x00" + c.Body
		for _, fault := range c.Faults {
			key += fmt.Sprint(fault.Review, fault.Status)
		}
		if before, there := seen[key]; there {
			t.Errorf("%s: %s duplicates %s", c.Where, c.Name(), before)
		}
		seen[key] = c.Where
	}
	const least = 300
	if len(corpus.Cases) < least {
		t.Errorf("%d cases, want at least %d", len(corpus.Cases), least)
	}
	t.Logf("%d cases, %d configurations, %d clients", len(corpus.Cases), len(corpus.Configurations),
		len(corpus.Clients))
}

func TestParse(t *testing.T) {
	_, err := read(known + `
configuration full
  authentication.anonymous.enabled: true
  tlsCipherSuites: [A, B]

client viewer certificate client CN=viewer O=watchers "O=a b" header "X: y"

in {plain,full}
  {GET,POST} /pods/{,x}   # a comment
    nothing to see
`)
	if err == nil || !strings.Contains(err.Error(), "vectors/x.txt:13: unexpected \"nothing\"") {
		t.Errorf("error %v", err)
	}
	corpus, err := read(known + `
in plain
  {GET,POST} /pods/{,x} header "A: {1,2}"
    as other-client -> 403 TokenReview viewer [a b] may not get pods proxy reason "he \"may\" not" ` +
		`body "x" header "Allow: GET"
    as no-credential header "B: 3" on read-only over HTTP/1.0 body "abc" while "TokenReview 403" ` +
		`-> 404 no-authentication
  BREW /{a} -> 401
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(corpus.Cases) != 8+8+1 {
		t.Fatalf("%d cases", len(corpus.Cases))
	}
	want := Case{
		Where: "vectors/x.txt:7", Configuration: "plain", Client: "other-client", Protocol: "HTTP/1.1",
		Method: "POST", Path: "/pods/x", Headers: []string{"A: 2"},
		Want: Expectation{
			Status: 403, TokenReviews: 1, User: "viewer", Groups: []string{"a", "b"}, Authorization: Denied,
			Verb: "get", Subresources: []string{"pods", "proxy"},
			Reason: `he "may" not`, BodyContains: "x", Headers: []string{"Allow: GET"},
		},
	}
	if !contains(corpus.Cases, want) {
		t.Errorf("the corpus does not contain the case %+v", want)
	}
	want = Case{
		Where: "vectors/x.txt:8", Configuration: "plain", Client: "no-credential", ReadOnly: true,
		Faults: []faults.Fault{{Kind: faults.ReviewerError, Status: 403,
			Scope: faults.Scope{Review: faults.TokenReview}}},
		Protocol: "HTTP/1.0", Method: "GET", Path: "/pods/", Headers: []string{"A: 1", "B: 3"}, Body: "abc",
		Want: Expectation{Status: 404, NoAuthentication: true},
	}
	if !contains(corpus.Cases, want) {
		t.Errorf("the corpus does not contain the case %+v", want)
	}
	if last := corpus.Cases[16]; last.Path != "/{a}" || last.Method != "BREW" || last.Client != "no-credential" ||
		last.Headers != nil {
		t.Errorf("the last case is %+v", last)
	}
	got := string(corpus.Cases[0].Bytes(Client{Headers: []string{"Authorization: Basic x"}}))
	if want := "GET /pods/ HTTP/1.1\r\nHost: node-1:10250\r\nConnection: close\r\nAuthorization: Basic x\r\nA: " +
		"1\r\n\r\n"; got != want {
		t.Errorf("bytes %q, want %q", got, want)
	}
}

func contains(cases []Case, want Case) bool {
	for _, c := range cases {
		if equality.Semantic.DeepEqual(c, want) {
			return true
		}
	}
	return false
}

func TestParseErrors(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no status": {"in plain GET / -> ok", `vectors/x.txt:4: "ok" after ->: must be a status`},
		"no path":   {"in plain GET -> 200", `vectors/x.txt:4: unexpected "200"; use in, as`},
		"unknown word": {"in plain sometimes GET / -> 200",
			`vectors/x.txt:4: unexpected "sometimes"; use in, as`},
		"nothing after in":      {"in plain GET / as", `vectors/x.txt:4: "as": the value is missing`},
		"no configuration":      {"GET / -> 200", "vectors/x.txt:4: the configuration (in NAME) or the request"},
		"unknown configuration": {"in other GET / -> 200", `vectors/x.txt:4: unknown configuration "other"`},
		"unknown client":        {"in plain GET / as me -> 200", `vectors/x.txt:4: unknown client "me"`},
		"unknown port":          {"in plain GET / on lpt1 -> 200", `vectors/x.txt:4: on "lpt1"`},
		"no verb": {"in plain GET / -> 200 me may",
			`vectors/x.txt:4: user "me": may, may not and error must be followed by VERB`},
		"user alone": {"in plain GET / -> 200 me", `vectors/x.txt:4: user "me" must be followed by may`},
		"two users": {"in plain GET / -> 200 me always-allowed you always-allowed",
			`vectors/x.txt:4: unexpected "you" after the authorization`},
		"no end of a string":   {"in plain GET / -> 200 body \"x", "vectors/x.txt:4: unterminated string"},
		"no end of a list":     {"in plain GET / -> 200 me [a", "vectors/x.txt:4: unterminated list"},
		"fault without a kind": {"in plain GET / while 403 -> 200", "vectors/x.txt:4: while \"403\""},
		"fault of no review": {"in plain GET / while \"Pod 403\" -> 200",
			"vectors/x.txt:4: while \"Pod 403\": review: \"Pod\": must be TokenReview or SubjectAccessReview"},
		"tab":                 {"\tin plain GET / -> 200", "vectors/x.txt:4: the line begins with a tab"},
		"client twice":        {"client no-credential", `vectors/x.txt:4: client "no-credential" is defined twice`},
		"client's word":       {"client me CN", `vectors/x.txt:4: client me: unexpected "CN"`},
		"configuration twice": {"configuration plain", `vectors/x.txt:4: configuration "plain" is defined twice`},
		"setting": {"configuration x\n  field=1",
			"vectors/x.txt:5: a setting must be: path.of.field: value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(known + test.text)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestSettingsYAML(t *testing.T) {
	text, err := Settings{
		"authentication.anonymous.enabled": true,
		"authentication.webhook.enabled":   false,
		"address":                          "127.0.0.1",
	}.YAML()
	if err != nil {
		t.Fatal(err)
	}
	want := `address: 127.0.0.1
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: true
  webhook:
    enabled: false
kind: KubeletConfiguration
`
	if string(text) != want {
		t.Errorf("%s", text)
	}
}

func TestProblems(t *testing.T) {
	c := Case{
		Method: "GET",
		Want: Expectation{
			Status:        403,
			User:          "viewer",
			Groups:        []string{"b", "a"},
			Authorization: Denied,
			Verb:          "get",
			Subresources:  []string{"pods", "proxy"},
		},
	}
	access := func(subresource string) *authorizationv1.SubjectAccessReviewSpec {
		return &authorizationv1.SubjectAccessReviewSpec{User: "viewer", Groups: []string{"a", "b"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "nodes",
				Subresource: subresource, Name: nodeName}}
	}
	good := func() *Observed {
		o := &Observed{Status: 403,
			Body: "Forbidden (user=viewer, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"}
		o.AddReview(access("pods"))
		o.AddReview(access("proxy"))
		return o
	}
	if problems := c.Problems(*good()); len(problems) > 0 {
		t.Errorf("problems of the expected result: %q", problems)
	}
	for name, spoil := range map[string]func(*Case, *Observed){
		"status":       func(_ *Case, o *Observed) { o.Status = 401 },
		"body":         func(_ *Case, o *Observed) { o.Body = "Forbidden" },
		"token review": func(_ *Case, o *Observed) { o.AddReview(nil) },
		"order":        func(_ *Case, o *Observed) { slices.Reverse(o.AccessReviews) },
		"fewer":        func(_ *Case, o *Observed) { o.AccessReviews = o.AccessReviews[:1] },
		"none":         func(_ *Case, o *Observed) { o.AccessReviews = nil },
		"user":         func(_ *Case, o *Observed) { o.AccessReviews[0].User = "other" },
		"groups":       func(_ *Case, o *Observed) { o.AccessReviews[0].Groups = []string{"a"} },
		"verb":         func(_ *Case, o *Observed) { o.AccessReviews[0].ResourceAttributes.Verb = "list" },
		"name":         func(_ *Case, o *Observed) { o.AccessReviews[0].ResourceAttributes.Name = "" },
		"text":         func(c *Case, _ *Observed) { c.Want.BodyContains = "something else" },
		"header":       func(c *Case, _ *Observed) { c.Want.Headers = []string{"Allow: GET"} },
	} {
		t.Run(name, func(t *testing.T) {
			c, o := c, good()
			spoil(&c, o)
			if len(c.Problems(*o)) == 0 {
				t.Error("no problem is reported")
			}
		})
	}
}
