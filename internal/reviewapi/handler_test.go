package reviewapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// TestBadRequestsFailAsInKubeAPIServer compares errors of the review API with the errors of kube-apiserver v1.37.2. Two
// differences are intended: the response with status 406 is different, and errors never quote the body.
func TestBadRequestsFailAsInKubeAPIServer(t *testing.T) {
	server, address := start(t, Options{})
	const (
		tokens = "/apis/authentication.k8s.io/v1/tokenreviews"
		access = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
		secret = `"spec":{"token":"s3cret"}`
		review = `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview",`
	)
	for name, test := range map[string]struct {
		method, path, contentType, accept, body string
		status                                  int
		want                                    string
	}{
		"another kind": {path: tokens, body: `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"s3cret"}}`,
			status: 400, want: `Pod in version "v1" cannot be handled as a TokenReview: `},
		"the other review": {path: tokens,
			body: `{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview"}`, status: 400,
			want: `SubjectAccessReview in version "v1" cannot be handled as a TokenReview: `},
		"an unknown kind": {path: tokens,
			body: `{"apiVersion":"authentication.k8s.io/v1","kind":"Foo",` + secret + `}`, status: 400,
			want: `Foo in version "v1" cannot be handled as a TokenReview: no kind "Foo" is registered`},
		"another version": {path: tokens,
			body: `{"apiVersion":"authentication.k8s.io/v1beta1","kind":"TokenReview",` + secret + `}`, status: 400,
			want: "the API version in the data (authentication.k8s.io/v1beta1) does not match the expected API " +
				"version (authentication.k8s.io/v1)"},
		"no kind, no version": {path: tokens, body: `{` + secret + `}`, status: 201,
			want: `"error":"invalid bearer token"`},
		"a wrong type": {path: tokens, body: review + `"spec":{"token":12345}}`, status: 400,
			want: `TokenReview in version "v1" cannot be handled as a TokenReview: json: cannot unmarshal number`},
		"no JSON": {path: tokens, body: `s3cret`, status: 400,
			want: "the object provided is unrecognized (must be of type TokenReview): couldn't get version/kind; " +
				"json parse error: "},
		"an empty body": {path: tokens, status: 400,
			want: "the object provided is unrecognized (must be of type TokenReview): "},
		"a list": {path: tokens, body: `[]`, status: 400,
			want: "the object provided is unrecognized (must be of type TokenReview): "},
		"not protobuf": {path: tokens, contentType: "application/vnd.kubernetes.protobuf",
			body: "k8s\x00s3cret", status: 400,
			want: "the object provided is unrecognized (must be of type TokenReview): unexpected EOF"},
		"no protobuf at all": {path: tokens, contentType: "application/vnd.kubernetes.protobuf", body: "s3cret",
			status: 400, want: "the object provided is unrecognized (must be of type TokenReview): provided data " +
				"does not appear to be a protobuf message"},
		"unknown content type": {path: tokens, contentType: "text/plain", body: `{}`, status: 415,
			want: "the body of the request was in an unknown format - accepted media types include: " +
				"application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		"CBOR, as an apiserver": {path: tokens, contentType: "application/cbor", body: `{}`, status: 415,
			want: "unknown format"},
		"unknown accept": {path: tokens, accept: "text/html", body: `{` + secret + `}`, status: 406,
			want: "only the following media types are accepted: application/json, application/yaml, " +
				"application/vnd.kubernetes.protobuf"},
		"unknown field": {path: tokens, body: review + `"spec":{"token":"s3cret","bogus":1}}`, status: 201,
			want: `"error":"invalid bearer token"`},
		"unknown field, strict": {path: tokens + "?fieldValidation=Strict",
			body: review + `"spec":{"token":"s3cret","bogus":1}}`, status: 400,
			want: `TokenReview in version "v1" cannot be handled as a TokenReview: strict decoding error: ` +
				`unknown field "spec.bogus"`},
		"unknown field, ignored": {path: tokens + "?fieldValidation=Ignore",
			body: review + `"spec":{"token":"s3cret","bogus":1}}`, status: 201, want: `"error":"invalid bearer token"`},
		"unknown validation": {path: tokens + "?fieldValidation=Foo", body: review + secret + `}`, status: 422,
			want: `CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Foo"`},
		"too large": {path: tokens, body: `"` + strings.Repeat("x", maxBody), status: 413,
			want: "limit is 3145728"},
		"too deep": {path: access, body: strings.Repeat(`{"spec":`, 8000), status: 400,
			want: "the object provided is unrecognized"},
		"GET": {method: "GET", path: tokens, status: 405,
			want: "the server does not allow this method on the requested resource"},
		"DELETE": {method: "DELETE", path: access, status: 405,
			want: "the server does not allow this method on the requested resource"},
		"a name": {path: tokens + "/x", status: 404,
			want: "the server could not find the requested resource"},
		"another resource": {path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", status: 404,
			want: "the server could not find the requested resource"},
		"two slashes": {path: "/apis//authorization.k8s.io/v1/subjectaccessreviews", status: 404,
			want: "the server could not find the requested resource"},
		"version, POST": {path: "/version", status: 405,
			want: "the server does not allow this method on the requested resource"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.method == "" {
				test.method = http.MethodPost
			}
			if test.contentType == "" {
				test.contentType = "application/json"
			}
			if test.accept == "" {
				test.accept = "application/json"
			}
			response, answer := send(t, server, address, test.method, test.path, test.contentType, test.accept,
				[]byte(test.body))
			if response.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", response.StatusCode, test.status, answer)
			}
			if test.status == http.StatusCreated {
				if !strings.Contains(answer, test.want) {
					t.Errorf("response %s\nwant it to contain %s", answer, test.want)
				}
				warning := response.Header.Get("Warning")
				if warned, want := warning == `299 - "unknown field \"spec.bogus\""`,
					name == "unknown field"; warned != want {
					t.Errorf("warning %q", warning)
				}
				return
			}
			var status metav1.Status
			if err := json.Unmarshal([]byte(answer), &status); err != nil {
				t.Fatalf("the response is not a Status: error %v, body %s", err, answer)
			}
			if status.Kind != "Status" || int(status.Code) != test.status ||
				!strings.Contains(status.Message, test.want) {
				t.Errorf("answer %s\nwant a Status %d with %s", answer, test.status, test.want)
			}
			if strings.Contains(answer, "s3cret") || strings.Contains(answer, "733363726574") {
				t.Errorf("the answer quotes the body: %s", answer)
			}
		})
	}
	for _, record := range server.Reviews() {
		if record.Token == "" || strings.Contains(record.Token, "s3cret") {
			t.Errorf("recorded %+v", record)
		}
	}
}

func TestHealthAndVersionNeedNoCredential(t *testing.T) {
	server, address := start(t, Options{})
	server.options.CallerToken = "" // the requests of this test send no credential, so clear the generated token
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/livez": "ok",
		"/version": `"minor": "37"`} {
		response, answer := send(t, server, address, http.MethodGet, path, "", "*/*", nil)
		if response.StatusCode != http.StatusOK || !strings.Contains(answer, want) {
			t.Errorf("%s: status %d, body %q", path, response.StatusCode, answer)
		}
	}
	response, answer := send(t, server, address, http.MethodGet, "/nope", "", "application/json", nil)
	const want = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized",` +
		`"reason":"Unauthorized","code":401}`
	if response.StatusCode != 401 || strings.TrimSpace(answer) != want {
		t.Errorf("%d %s\nwant 401 %s", response.StatusCode, answer, want)
	}
}

// FuzzReview checks that every request is answered with a review or a Status, without a panic.
func FuzzReview(f *testing.F) {
	server, err := New(Options{RBAC: []string{"testdata/rbac.yaml"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(false, "application/json", []byte(`{"spec":{"token":"x"}}`))
	f.Add(true, "application/json",
		[]byte(`{"spec":{"user":"x","resourceAttributes":{"labelSelector":{"requirements":[{}]}}}}`))
	f.Add(true, "application/vnd.kubernetes.protobuf", []byte("k8s\x00\n\x00"))
	f.Add(false, "application/yaml", []byte("spec: {token: [}"))
	f.Fuzz(func(t *testing.T, access bool, contentType string, body []byte) {
		path := "/apis/authentication.k8s.io/v1/tokenreviews"
		if access {
			path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
		}
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+server.options.CallerToken)
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Accept", "application/json")
		answer := httptest.NewRecorder()
		server.Handler().ServeHTTP(answer, request)
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(answer.Body.Bytes(), nil, nil); err != nil {
			t.Errorf("status %d, body %s: error %v", answer.Code, answer.Body, err)
		}
	})
}
