package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// FuzzLogOptions requests a log with any query. The response is the log, a part of the log, or an error, but never a
// log followed by an error. The response must respect limitBytes and tailLines.
func FuzzLogOptions(f *testing.F) {
	standin := newUnserved(f, "{anonymous: {enabled: true}, webhook: {enabled: false}}",
		"authorization: {mode: AlwaysAllow}\n", nil)
	ask := func(t *testing.T, ctx context.Context, query string) (int, string) {
		request := httptest.NewRequest(http.MethodGet, "/containerLogs/default/nginx/nginx", nil).WithContext(ctx)
		request.URL.RawQuery = query
		return standin.call(t, request, false)
	}
	const lines = 100 // number of lines in the log

	for _, query := range []string{
		"", "tailLines=5", "tailLines=0", "tailLines=-1", "tailLines=x", "tailLines=9223372036854775807",
		"tailLines=9223372036854775808", "tailLines=+1", "tailLines=",
		"tail=5", "tail=all", "tail=all&tailLines=3", "tail=&tailLines=3", "tail=x", "limitBytes=10", "limitBytes=0",
		"limitBytes=9223372036854775807", "limitBytes=10&tailLines=2",
		"sinceSeconds=10", "sinceSeconds=0", "sinceSeconds=9223372036854775807", "sinceSeconds=-9223372036854775808",
		"sinceSeconds=9223372037",
		"sinceTime=2026-01-02T03:04:05Z", "sinceTime=", "sinceTime=0001-01-01T00:00:00Z",
		"sinceTime=9999-12-31T23:59:59%2B23:59", "sinceTime=x", "sinceTime=2026-01-02T03:04:05Z&sinceSeconds=1",
		"timestamps=true", "timestamps=0&timestamps=1", "previous=true", "previous=False", "follow=true",
		"follow=1&tailLines=1", "follow",
		"stream=Stdout", "stream=Stderr", "stream=All", "stream=stdout", "stream=&tailLines=1",
		"stream=Stdout&tailLines=1", "%zz=1&tailLines=1", "tailLines=1;limitBytes=1", "a=%00",
	} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		whole, log := ask(t, t.Context(), "")
		if whole != http.StatusOK || strings.Count(log, "\n") != lines {
			t.Fatalf("the log: %d %q", whole, log)
		}
		options, _ := url.ParseQuery(query) // ignores invalid parts, as http.Request does
		ctx := t.Context()
		if options.Has("follow") {
			// A followed log never ends, so the test cancels the request.
			gone, cancel := context.WithCancel(ctx)
			cancel()
			ctx = gone
		}
		status, body := ask(t, ctx, query)
		if ctx.Err() != nil {
			return
		}
		err := standin.last.Err
		switch status {
		case http.StatusOK:
			if err != "" {
				t.Fatalf("error after the response had begun: %s", err)
			}
		case http.StatusBadRequest, http.StatusUnprocessableEntity:
			if err == "" || body != err {
				t.Fatalf("%d %q, with the error %q", status, body, err)
			}
			return
		default:
			t.Fatalf("%d %q", status, body)
		}

		if limit, err := strconv.ParseInt(options.Get("limitBytes"), 10, 64); err == nil && int64(len(body)) > limit {
			t.Errorf("%d bytes, limitBytes is %d", len(body), limit)
		}
		if tail, err := strconv.ParseInt(options.Get("tailLines"), 10, 64); err == nil &&
			options.Get("tail") == "" && int64(strings.Count(body, "\n")) > tail {
			t.Errorf("%d lines, tailLines is %d", strings.Count(body, "\n"), tail)
		}
		if stamped := options.Get("timestamps"); (stamped == "0" || !options.Has("timestamps")) &&
			!strings.Contains(log, body) {
			t.Errorf("the response is not a part of the log: %q", body)
		}
	})
}
