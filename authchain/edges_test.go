package authchain_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1api "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"fauxlet/authchain"
	"fauxlet/testcerts"
)

// TestUnusualCredentials tries unusual credentials. The expected results were measured on a kubelet v1.37. Anonymous
// access is on, and all users may do everything.
func TestUnusualCredentials(t *testing.T) {
	p := newPKI(t)
	a := newAPIServer(t)
	a.users[serviceAccountToken] = authenticationv1api.UserInfo{Username: serviceAccount, UID: "7",
		Groups: []string{"system:serviceaccounts"}}

	invalid := map[string][]func(*x509.Certificate){
		"expired":          {testcerts.Expired},
		"not-yet-valid":    {testcerts.NotYetValid},
		"server-auth-only": {testcerts.ServerAuthOnly},
	}
	kubeletClient := func(mutate ...func(*x509.Certificate)) credential {
		return with(client(t, p.clusterCA, "kubelet-client", []string{"operators", "people"}, mutate...), "")
	}
	protocols := func(token string) credential {
		return credential{header: http.Header{
			"Connection": {"Upgrade"},
			"Upgrade":    {"websocket"},
			"Sec-Websocket-Protocol": {"base64url.bearer.authorization.k8s.io." +
				base64.RawURLEncoding.EncodeToString([]byte(token)) + ", v4.channel.k8s.io"},
		}}
	}

	intermediate, err := p.clusterCA.Intermediate("cluster-ca-2")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name       string
		credential credential
		status     int
		user       string
		groups     []string
		by         authchain.Method
		why        string
	}{
		{name: "certificate", credential: kubeletClient(), status: 200, user: "kubelet-client",
			groups: []string{"people", "operators", "system:authenticated"}, by: authchain.MethodX509},
		{name: "no-extended-key-usage", credential: kubeletClient(testcerts.NoUsage), status: 200,
			user: "kubelet-client", by: authchain.MethodX509},
		{name: "empty-common-name", credential: kubeletClient(testcerts.EmptyCN), status: 200, user: anonymousUser,
			by: authchain.MethodAnonymous},
		{name: "common-name-of-anonymous",
			credential: with(client(t, p.clusterCA, anonymousUser, []string{"operators"}), ""),
			status:     200, user: anonymousUser, groups: []string{"operators"}, by: authchain.MethodX509},
		{name: "intermediate-ca", credential: with(client(t, intermediate, "kubelet-client", nil), ""), status: 200,
			user: "kubelet-client", by: authchain.MethodX509},
		{name: "none", status: 200, user: anonymousUser, groups: []string{"system:unauthenticated"},
			by: authchain.MethodAnonymous},
		{name: "token", credential: bearer(serviceAccountToken), status: 200, user: serviceAccount,
			groups: []string{"system:serviceaccounts", "system:authenticated"}, by: authchain.MethodBearerToken},
		{name: "bad-token", credential: bearer("unknown-token"), status: 401,
			why: "refused: the TokenReview of token "},
		{name: "basic", credential: credential{authorization: "Basic dXNlcjpwYXNz"}, status: 200,
			user: anonymousUser, by: authchain.MethodAnonymous},
		{name: "bare-bearer", credential: credential{authorization: "Bearer"}, status: 200, user: anonymousUser,
			by: authchain.MethodAnonymous},
		{name: "two-spaces", credential: credential{authorization: "Bearer  " + serviceAccountToken}, status: 200,
			user: anonymousUser, by: authchain.MethodAnonymous},
		{name: "websocket-token", credential: protocols(serviceAccountToken), status: 200, user: serviceAccount,
			by: authchain.MethodWebSocketToken},
		{name: "websocket-bad-token", credential: protocols("unknown-token"), status: 401,
			why: "refused: the TokenReview of token "},
		{name: "untrusted", credential: with(client(t, p.unknownCA, "kubelet-client", nil), ""), status: 401,
			why: `refused: certificate signed by unknown authority "unknown-ca"`},
		{name: "untrusted-and-bad-token",
			credential: with(client(t, p.unknownCA, "kubelet-client", nil), "unknown-token"), status: 401,
			why: `refused: certificate signed by unknown authority "unknown-ca"; the TokenReview of token `},
		{name: "expired", credential: kubeletClient(testcerts.Expired), status: 401,
			why: "refused: certificate expired at "},
		{name: "not-yet-valid", credential: kubeletClient(testcerts.NotYetValid), status: 401,
			why: "refused: certificate is not valid before "},
		{name: "server-auth-only", credential: kubeletClient(testcerts.ServerAuthOnly), status: 401,
			why: "refused: certificate's extended key usage does not include client authentication"},
	}
	config := webhookConfig(p, a)
	config.Anonymous, config.Mode = true, authchain.AlwaysAllow
	s := newStandin(t, newChain(t, config), true)

	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			status, _, decision := s.send(t, "GET", "/pods", c.credential)
			user := ""
			if decision.User != nil {
				user = decision.User.GetName()
			}
			if status != c.status || user != c.user || decision.By() != c.by {
				t.Fatalf("%d as %q by %q, want %d as %q by %q: %s", status, user, decision.By(), c.status, c.user,
					c.by, decision.Why())
			}
			if c.groups != nil && !slices.Equal(decision.User.GetGroups(), c.groups) {
				t.Errorf("groups %q, want %q", decision.User.GetGroups(), c.groups)
			}
			if !strings.HasPrefix(decision.Why(), c.why) {
				t.Errorf("why: %q, want %q", decision.Why(), c.why)
			}
			if strings.Contains(decision.Why(), serviceAccountToken) ||
				strings.Contains(decision.Why(), "unknown-token") {
				t.Errorf("the reason has a token in it: %q", decision.Why())
			}
		})
	}
	for name, mutate := range invalid {
		t.Run(name+"-and-good-token", func(t *testing.T) {
			c := kubeletClient(mutate...)
			c.authorization = "Bearer " + serviceAccountToken
			if status, _, decision := s.send(t, "GET", "/pods", c); status != 200 ||
				decision.User.GetName() != serviceAccount {
				t.Errorf("%d: %s", status, decision.Why())
			}
		})
	}
	t.Run("good-certificate-sends-no-token-review", func(t *testing.T) {
		before, _ := a.counts()
		c := kubeletClient()
		c.authorization = "Bearer " + serviceAccountToken
		s.send(t, "GET", "/pods", c)
		if after, _ := a.counts(); after != before {
			t.Errorf("%d reviews were sent", after-before)
		}
	})
}

// TestTokenIsIgnoredWithoutWebhook expects the Decision to record that a token was ignored because webhook
// authentication is off.
func TestTokenIsIgnoredWithoutWebhook(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	config := webhookConfig(p, a)
	config.TokenWebhook, config.TokenReviews = false, nil
	s := newStandin(t, newChain(t, config), true)
	status, _, decision := s.send(t, "GET", "/pods", bearer(serviceAccountToken))
	if status != 401 || !strings.Contains(decision.Why(), "authentication.webhook.enabled is false") {
		t.Errorf("%d: %s", status, decision.Why())
	}
}

// TestNoCredential checks that the Decision about a request without a credential explains the 401. A kubelet does not
// log an explanation.
func TestNoCredential(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	s := newStandin(t, newChain(t, webhookConfig(p, a)), true)
	_, _, decision := s.send(t, "GET", "/pods", credential{})
	want := "refused: no client certificate was presented; no bearer token in the Authorization header; no bearer " +
		"token among the WebSocket subprotocols; anonymous authentication is off"
	if decision.Why() != want {
		t.Errorf("why: %q", decision.Why())
	}
}

// TestTokenReviewFails checks that a failed TokenReview causes a 401, and that the outcome of the authentication step
// is "error" and not "refused".
func TestTokenReviewFails(t *testing.T) {
	p := newPKI(t)
	for _, c := range []struct {
		name    string
		status  int
		reviews int
	}{
		{"forbidden", 403, 1},
		{"internal-error", 500, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPIServer(t)
			a.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(c.status)
				return true
			}
			config := webhookConfig(p, a)
			config.Anonymous = true
			s := newStandin(t, newChain(t, config), true)
			status, _, decision := s.send(t, "GET", "/pods", bearer("any"))
			if reviews, _ := a.counts(); status != 401 || reviews != c.reviews {
				t.Errorf("%d after %d reviews, want 401 after %d", status, reviews, c.reviews)
			}
			if !strings.HasPrefix(decision.Why(), "error: the TokenReview of token ") ||
				decision.Outcome() != "error" {
				t.Errorf("why: %q", decision.Why())
			}
		})
	}
}

// TestResponseIsNoTokenReview checks that a token is not recorded as refused if the apiserver answers its TokenReview
// with the status 200 and something that is no TokenReview.
func TestResponseIsNoTokenReview(t *testing.T) {
	p := newPKI(t)
	const protobuf = "application/vnd.kubernetes.protobuf"
	for _, c := range []struct{ name, contentType, body string }{
		{"page", "text/html", "<html>Sign in</html>"},
		{"page-sent-as-json", "application/json", "<html>Sign in</html>"},
		{"page-sent-as-protobuf", protobuf, "<html>Sign in</html>"},
		{"empty", "application/json", ""},
		{"no-kind", "application/json", `{"kind": "Unknown", "apiVersion": "authentication.k8s.io/v1"}`},
		{"bad-version", "application/json", `{"kind": "TokenReview", "apiVersion": "a/b/c"}`},
		{"wrong-type", "application/json",
			`{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": "authenticated"}`},
		{"cut-protobuf", protobuf, "k8s\x00\x0a\x7f"},
		{"bad-protobuf", protobuf, "k8s\x00\x0f"},
		{"status", "application/json", `{"kind": "Status", "apiVersion": "v1", "status": "Failure"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPIServer(t)
			a.intercept = func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", c.contentType)
				io.WriteString(w, c.body)
				return true
			}
			config := webhookConfig(p, a)
			config.Anonymous = true
			s := newStandin(t, newChain(t, config), true)
			status, _, decision := s.send(t, "GET", "/pods", bearer("any"))
			if status != 401 || decision.Outcome() != "error" ||
				!strings.HasPrefix(decision.Why(), "error: the TokenReview of token ") {
				t.Errorf("%d, outcome %q, why %q, want 401 and an error", status, decision.Outcome(), decision.Why())
			}
		})
	}
}

// TestClientLeavesDuringTokenReview checks that a token is not recorded as refused if its request ends before its
// TokenReview.
func TestClientLeavesDuringTokenReview(t *testing.T) {
	p := newPKI(t)
	for _, c := range []struct {
		name, header, value string
		end                 func(context.Context) (context.Context, context.CancelFunc)
		why                 string
	}{
		{"bearer-token", "Authorization", "Bearer any", context.WithCancel,
			"the client closed its request before the apiserver answered"},
		{"websocket-token", "Sec-Websocket-Protocol", "base64url.bearer.authorization.k8s.io.YW55, v4.channel.k8s.io",
			context.WithCancel, "the client closed its request before the apiserver answered"},
		{"deadline", "Authorization", "Bearer any", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 0)
		}, "the apiserver did not answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPIServer(t)
			ctx, cancel := c.end(t.Context())
			answer := make(chan struct{})
			t.Cleanup(func() { close(answer) })
			a.intercept = func(http.ResponseWriter, *http.Request) bool {
				cancel()
				<-answer
				return false
			}
			r := httptest.NewRequestWithContext(ctx, "GET", "/pods", nil)
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set(c.header, c.value)
			decision, err := newChain(t, webhookConfig(p, a)).Decide(r)
			var refusal *authchain.Refusal
			if !errors.As(err, &refusal) || refusal.Status != 401 || decision.Outcome() != "error" ||
				!strings.HasPrefix(decision.Why(), "error: the TokenReview of token ") ||
				!strings.HasSuffix(decision.Why(), "failed: "+c.why) {
				t.Errorf("%v, outcome %q, why %q", err, decision.Outcome(), decision.Why())
			}
		})
	}
}

// TestMissingServiceAccount checks the reason of a refused token whose service account does not exist. The reviewer's
// error contains the name of the service account. The reason must mention that the service account does not exist, but
// must not contain the name.
func TestMissingServiceAccount(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	a.tokenError = `[invalid bearer token, serviceaccounts "ci" not found]`
	s := newStandin(t, newChain(t, webhookConfig(p, a)), true)
	_, _, decision := s.send(t, "GET", "/pods", bearer("any"))
	if want := "says: invalid bearer token, the service account does not exist"; !strings.HasSuffix(decision.Why(),
		want) {
		t.Errorf("why: %q, want %q", decision.Why(), want)
	}
}

// TestMissingCredentialPlugin checks the reason for a token whose review could not be sent, because the credential
// plugin that the kubeconfig names is not installed.
func TestMissingCredentialPlugin(t *testing.T) {
	p, a := newPKI(t), newAPIServer(t)
	clients, err := kubernetes.NewForConfig(&rest.Config{Host: a.URL, ExecProvider: &clientcmdapi.ExecConfig{
		Command: "no-such-plugin", APIVersion: "client.authentication.k8s.io/v1",
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode}})
	if err != nil {
		t.Fatal(err)
	}
	config := webhookConfig(p, a)
	config.TokenReviews = clients.AuthenticationV1()
	s := newStandin(t, newChain(t, config), true)
	_, _, decision := s.send(t, "GET", "/pods", bearer("any"))
	if want := "failed: the kubeconfig's credential plugin failed"; !strings.HasSuffix(decision.Why(), want) {
		t.Errorf("why: %q, want %q", decision.Why(), want)
	}
	if reviews, _ := a.counts(); reviews != 0 {
		t.Errorf("%d reviews were sent", reviews)
	}
}

// TestReviewerRepeatsToken expects no token in responses and Decisions, even if the review API repeats the token in
// an error.
func TestReviewerRepeatsToken(t *testing.T) {
	const token = `s3cret-"token"`
	p := newPKI(t)
	for name, intercept := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"in-a-body": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "the proxy refuses "+token, http.StatusForbidden)
			return true
		},
		"in-the-status": nil,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPIServer(t)
			a.intercept, a.tokenError = intercept, "invalid token "+token
			s := newStandin(t, newChain(t, webhookConfig(p, a)), true)
			status, body, decision := s.send(t, "GET", "/pods", bearer(token))
			data, err := json.Marshal(decision)
			if err != nil {
				t.Fatal(err)
			}
			if status != 401 || strings.Contains(body+decision.Why()+string(data), "s3cret") {
				t.Errorf("%d %q, why %q, %s", status, body, decision.Why(), data)
			}
			if !strings.Contains(decision.Why(), authchain.Fingerprint(token)) {
				t.Errorf("why: %q", decision.Why())
			}
			if want := map[string]string{"in-a-body": "error",
				"in-the-status": "refused"}[name]; decision.Outcome() != want {
				t.Errorf("outcome %q, want %q", decision.Outcome(), want)
			}
		})
	}
}

// TestReviewErrorsAreNotLogged expects that klog does not log the error of a review, because the reviewer could repeat
// the token in it. The test sets only klog's output and leaves all other settings of klog at their defaults, like a
// program that does not configure klog.
func TestReviewErrorsAreNotLogged(t *testing.T) {
	p := newPKI(t)
	for _, path := range []string{"tokenreviews", "subjectaccessreviews"} {
		t.Run(path, func(t *testing.T) {
			var log bytes.Buffer
			klogState := klog.CaptureState()
			t.Cleanup(klogState.Restore)
			klog.LogToStderr(false)
			klog.SetOutput(&log)

			a := newAPIServer(t)
			a.users[serviceAccountToken] = authenticationv1api.UserInfo{Username: serviceAccount}
			a.intercept = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, path) {
					return false
				}
				w.WriteHeader(http.StatusBadRequest)
				json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
					Status: metav1.StatusFailure, Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest,
					Message: "the proxy refuses " + serviceAccountToken})
				return true
			}
			s := newStandin(t, newChain(t, webhookConfig(p, a)), true)
			_, _, decision := s.send(t, "GET", "/pods", bearer(serviceAccountToken))
			if want := "failed: the apiserver answered 400 Bad Request"; !strings.HasSuffix(decision.Why(), want) {
				t.Errorf("why: %q, want %q", decision.Why(), want)
			}
			klog.Flush()
			text := log.String()
			if !strings.Contains(text, "Failed to make webhook ") || strings.Contains(text, "the proxy refuses") {
				t.Errorf("the log is %q, want the failed review without its error", text)
			}
		})
	}
}

// TestTokenCache checks which results of TokenReviews are cached, and that the Decision records whether a result came
// from the cache.
func TestTokenCache(t *testing.T) {
	p := newPKI(t)
	for _, c := range []struct {
		name       string
		token      string
		tokenError string
		ttl        time.Duration
		remembered bool
	}{
		{"good", serviceAccountToken, "", time.Minute, true},
		{"bad-without-error", "unknown-token", "", time.Minute, true},
		{"bad-with-error", "unknown-token", "invalid bearer token", time.Minute, false},
		{"good-without-ttl", serviceAccountToken, "", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAPIServer(t)
			a.users[serviceAccountToken] = authenticationv1api.UserInfo{Username: serviceAccount}
			a.tokenError = c.tokenError
			config := webhookConfig(p, a)
			config.Mode, config.TokenTTL = authchain.AlwaysAllow, c.ttl
			s := newStandin(t, newChain(t, config), true)
			for i := range 3 {
				_, _, decision := s.send(t, "GET", "/pods", bearer(c.token))
				want := c.remembered && i > 0
				if step := decision.Authentication[1]; step.Cached != want {
					t.Errorf("request %d: cached %v, want %v", i, step.Cached, want)
				}
			}
			want := 3
			if c.remembered {
				want = 1
			}
			if reviews, _ := a.counts(); reviews != want {
				t.Errorf("%d reviews, want %d", reviews, want)
			}
		})
	}
}
