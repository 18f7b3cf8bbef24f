package page_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"fauxlet/internal/admin/page"
)

// TestHandler checks that all files are served with a strict Content-Security-Policy and refer to no other server.
func TestHandler(t *testing.T) {
	server := httptest.NewServer(page.Handler())
	defer server.Close()
	external := regexp.MustCompile(
		`(?i)https?://[^\s"'<>]+|url\(|@import|innerHTML|insertAdjacentHTML|document\.write|\beval\b|` +
			`style="|<script>| on\w+="`)
	for path, kind := range map[string]string{
		"/": "text/html", "/page.css": "text/css", "/icon.svg": "image/svg+xml",
		"/page.js": "text/javascript", "/api.js": "text/javascript", "/draw.js": "text/javascript",
		"/state.js": "text/javascript", "/connection.js": "text/javascript", "/list.js": "text/javascript",
		"/detail.js": "text/javascript", "/stages.js": "text/javascript", "/whatif.js": "text/javascript",
		"/send.js": "text/javascript",
	} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Header.Get("Content-Type"); response.StatusCode != 200 || !strings.HasPrefix(got, kind) {
			t.Errorf("%s: status %s, Content-Type %s", path, response.Status, got)
		}
		policy := response.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") ||
			strings.Contains(policy, "*") {
			t.Errorf("%s: Content-Security-Policy is %q", path, policy)
		}
		for _, found := range external.FindAllString(string(body), -1) {
			if found != "http://www.w3.org/2000/svg" { // an XML namespace
				t.Errorf("%s refers to another server: %q", path, found)
			}
		}
	}
	for target, want := range map[string]int{"GET /nothing": 404, "GET /page.go": 404, "POST /": 405} {
		method, path, _ := strings.Cut(target, " ")
		request, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, response.StatusCode, want)
		}
	}
}
