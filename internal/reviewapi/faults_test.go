package reviewapi

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestFaults(t *testing.T) {
	server, address := start(t, Options{})
	c := client(t, server.RESTConfig(address))
	set := func(t *testing.T, fault Fault) {
		t.Helper()
		if err := server.SetFaults(Faults{TokenReview: fault}); err != nil {
			t.Fatal(err)
		}
	}
	last := func() Record {
		reviews := server.Reviews()
		return reviews[len(reviews)-1]
	}

	for name, test := range map[string]struct {
		fault    Fault
		is       func(error) bool
		message  string
		recorded string
		code     int
	}{
		"403": {Fault{Status: 403}, apierrors.IsForbidden, "a fault was set on this review", "status 403", 403},
		"429": {Fault{Status: 429}, apierrors.IsTooManyRequests, "a fault was set on this review", "status 429",
			429},
		"500": {Fault{Status: 500}, apierrors.IsInternalError, "a fault was set on this review", "status 500", 500},
		"503": {Fault{Status: 503}, apierrors.IsServiceUnavailable, "a fault was set on this review", "status 503",
			503},
		"garbage": {Fault{Garbage: true}, func(err error) bool { return err != nil }, "invalid character", "garbage",
			201},
		"drop": {Fault{Drop: true}, func(err error) bool { return err != nil }, "", "drop", 0},
	} {
		t.Run(name, func(t *testing.T) {
			set(t, test.fault)
			_, err := askToken(t, c, "alice-secret")
			if err == nil || !test.is(err) || !strings.Contains(err.Error(), test.message) {
				t.Errorf("error %v", err)
			}
			record := last()
			if record.Fault != test.recorded || record.Code != test.code ||
				record.Token != Fingerprint("alice-secret") || record.TokenStatus != nil {
				t.Errorf("record %+v", record)
			}
			if review, err := askAccess(t, c,
				question{user: "u", groups: "system:masters", verb: "get", what: "/x"}); err != nil ||
				!review.Status.Allowed {
				t.Errorf("the fault affects the other kind of review: %v", err)
			}
		})
	}

	t.Run("times", func(t *testing.T) {
		set(t, Fault{Status: 403, Times: 2})
		for i, wantError := range []bool{true, true, false, false} {
			if _, err := askToken(t, c, "alice-secret"); (err != nil) != wantError {
				t.Errorf("review %d: error %v", i, err)
			}
			if left := server.Faults().TokenReview.Times; i == 0 && left != 1 {
				t.Errorf("the fault will affect %d more reviews, want 1", left)
			}
		}
		if server.Faults() != (Faults{}) {
			t.Errorf("faults %+v are left", server.Faults())
		}
	})

	t.Run("hang until the caller goes", func(t *testing.T) {
		set(t, Fault{Hang: true, Times: 1})
		before := server.Counts().TokenReviews
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			eventually(t, "a review", func() bool { return server.Counts().TokenReviews > before })
			cancel()
		}()
		request := c.AuthenticationV1().RESTClient().Post().Resource("tokenreviews").Body(
			[]byte(`{"spec":{"token":"x"}}`)).SetHeader("Content-Type", "application/json")
		if err := request.Do(ctx).Error(); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if record := last(); record.Fault != "hang" || record.Code != 0 {
			t.Errorf("record %+v", record)
		}
	})

	t.Run("retry after", func(t *testing.T) {
		set(t, Fault{Status: 429, RetryAfter: 7, Times: 1})
		response, answer := send(t, server, address, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews",
			"application/json", "application/json", []byte(`{"spec":{"token":"x"}}`))
		if response.StatusCode != 429 || response.Header.Get("Retry-After") != "7" ||
			!strings.Contains(answer, `"retryAfterSeconds":7`) {
			t.Errorf("status %d, header %v, body %s", response.StatusCode, response.Header, answer)
		}
	})
}

func TestHangEndsWithTheServer(t *testing.T) {
	for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(protocol, func(t *testing.T) {
			server, err := New(Options{ErrorLog: log.New(io.Discard, "", 0)})
			if err != nil {
				t.Fatal(err)
			}
			if err := server.SetFaults(Faults{SubjectAccessReview: Fault{Hang: true}}); err != nil {
				t.Fatal(err)
			}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			served := make(chan error, 1)
			go func() { served <- server.Serve(ctx, listener) }()

			config := server.RESTConfig(listener.Addr().String())
			config.NextProtos = []string{"http/1.1"}
			if http2 {
				config.NextProtos = []string{"h2"}
			}
			c := client(t, config)
			asked := make(chan error, 1)
			go func() {
				_, err := askAccess(t, c, question{user: "u", verb: "get", what: "/x"})
				asked <- err
			}()
			eventually(t, "a review", func() bool { return server.Counts().SubjectAccessReviews == 1 })
			stop()
			if err := <-asked; err == nil {
				t.Error("the review was answered")
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(ctx context.Context) *httptest.ResponseRecorder {
			answer := httptest.NewRecorder()
			request := httptest.NewRequestWithContext(ctx, http.MethodPost,
				"/apis/authorization.k8s.io/v1/subjectaccessreviews",
				strings.NewReader(`{"spec":{"user":"u","nonResourceAttributes":{}}}`))
			request.Header.Set("Authorization", "Bearer "+server.token)
			server.Handler().ServeHTTP(answer, request)
			return answer
		}
		for name, test := range map[string]struct {
			fault Fault
			code  int
		}{
			"alone":         {Fault{Latency: 3 * time.Second}, 201},
			"with a status": {Fault{Latency: 3 * time.Second, Status: 500}, 500},
		} {
			if err := server.SetFaults(Faults{SubjectAccessReview: test.fault}); err != nil {
				t.Fatal(err)
			}
			before := time.Now()
			answer := ask(t.Context())
			if took := time.Since(before); took != 3*time.Second || answer.Code != test.code {
				t.Errorf("%s: %d after %s: %s", name, answer.Code, took, answer.Body)
			}
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		defer func() {
			if aborted := recover(); aborted != http.ErrAbortHandler {
				t.Errorf("after the caller disconnected: aborted is %v", aborted)
			}
			if reviews := server.Reviews(); len(reviews) != 3 || reviews[2].Code != 0 {
				t.Errorf("the recorded reviews are %+v", reviews)
			}
		}()
		ask(ctx)
	})
}

func TestFaultsRefused(t *testing.T) {
	server, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	good := Faults{TokenReview: Fault{Status: 500, Latency: time.Second, Times: 2}}
	if err := server.SetFaults(good); err != nil {
		t.Fatal(err)
	}
	for want, fault := range map[string]Fault{
		"at most one of status, hang, garbage and drop can be set, not 2": {Hang: true, Drop: true},
		"status: 200: want 400 to 599":                                    {Status: 200},
		"retryAfter: -1: want 0 or more seconds":                          {Status: 429, RetryAfter: -1},
		"retryAfter: 1: set status too, to 429 or 503":                    {RetryAfter: 1},
		"latency: -1s: want 0 or more":                                    {Latency: -time.Second},
		"times: -1: want 0 (always) or more":                              {Times: -1},
	} {
		if err := server.SetFaults(Faults{SubjectAccessReview: fault}); err == nil ||
			err.Error() != "faults: subjectAccessReview."+want && err.Error() != "faults: subjectAccessReview: "+want {
			t.Errorf("%+v: error %v, want %s", fault, err, want)
		}
	}
	if server.Faults() != good {
		t.Errorf("a refused fault changed those set: %+v", server.Faults())
	}
}

// eventually waits for a condition, with a deadline.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-deadline:
			t.Errorf("not within 20 s: %s", what)
			return
		case <-tick.C:
		}
	}
}
