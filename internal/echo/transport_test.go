package echo_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"fauxlet/internal/echo"
)

// TestTransport checks that a warning or an error that repeats the credential of its request is removed, and that all
// other responses stay as they are.
func TestTransport(t *testing.T) {
	const token = "abcdef.0123456789abcdef"
	const removed = "(removed, because"
	for name, test := range map[string]struct {
		status        int
		body, warning string
		basic         bool // the credential is a password
		wantBody      string
		wantWarning   bool
	}{
		"error":                   {403, `{"message": "you sent Bearer ` + token + `"}`, "", false, removed, false},
		"error and warning":       {500, token, "299 - " + token, false, removed, false},
		"password":                {401, "the password " + token, "", true, removed, false},
		"error without the token": {404, "not here", "299 - old", false, "not here", true},
		"success":                 {200, "data " + token, "299 - " + token, false, "data " + token, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.warning != "" {
					w.Header().Set("Warning", test.warning)
				}
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			}))
			defer server.Close()
			request, err := http.NewRequest(http.MethodGet, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			if test.basic {
				request.SetBasicAuth("admin", token)
			}
			response, err := echo.Transport{RoundTripper: http.DefaultTransport}.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status || !strings.Contains(string(body), test.wantBody) {
				t.Errorf("%d %s, want %d %s", response.StatusCode, body, test.status, test.wantBody)
			}
			if test.status >= 400 && strings.Contains(string(body), token) {
				t.Errorf("the body contains the credential: %s", body)
			}
			if got := response.Header.Get("Warning"); (got != "") != test.wantWarning {
				t.Errorf("warning %q", got)
			}
		})
	}
}
