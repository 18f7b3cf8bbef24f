package server_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	authenticationapi "k8s.io/api/authentication/v1"
	authorizationapi "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// echoes are the encodings in which a reviewer repeats a token.
var echoes = map[string]func(token string) string{
	"as it is":      func(token string) string { return token },
	"in a sentence": func(token string) string { return "the token " + token + " is unknown" },
	"truncated":     func(token string) string { return token[:len(token)/2] + "..." },
	"upper case":    strings.ToUpper,
	"quoted":        func(token string) string { return fmt.Sprintf("%q", token) },
	"base64":        func(token string) string { return base64.StdEncoding.EncodeToString([]byte(token)) },
	"base64url": func(token string) string {
		return base64.RawURLEncoding.EncodeToString([]byte("Bearer " + token))
	},
	"hex":              func(token string) string { return hex.EncodeToString([]byte(token)) },
	"percent encoding": url.QueryEscape,
	"percent encoding of each byte": func(token string) string {
		encoded := ""
		for _, b := range []byte(token) {
			encoded += fmt.Sprintf("%%%02X", b)
		}
		return encoded
	},
}

// hostileReviewer answers reviews. In its answers it repeats the token of the last TokenReview. The test selects the
// part of the answer ("place") and the encoding of the token ("echo").
type hostileReviewer struct {
	mu    sync.Mutex
	token string
	place string
	echo  func(string) string
}

// echoPlaces are the parts of an answer in which hostileReviewer can repeat the token.
var echoPlaces = map[string]struct {
	// The functions "token" and "access" change a review that is otherwise valid.
	token  func(status *authenticationapi.TokenReviewStatus, echo string)
	access func(status *authorizationapi.SubjectAccessReviewStatus, echo string)
	// The function "answer" writes the whole response, which is then not a review.
	answer func(w http.ResponseWriter, echo string)
	// If retried is true, the chain repeats the review for some seconds. To save time, the test then uses only one
	// encoding.
	retried bool
}{
	"the error of a TokenReview": {token: func(s *authenticationapi.TokenReviewStatus, echo string) {
		s.Authenticated, s.Error = false, echo
	}},
	"a known error": {token: func(s *authenticationapi.TokenReviewStatus, echo string) {
		s.Authenticated, s.Error = false, "[invalid bearer token, "+echo+"]"
	}},
	"the user name": {token: func(s *authenticationapi.TokenReviewStatus, echo string) { s.User.Username = echo }},
	"the user's ID": {token: func(s *authenticationapi.TokenReviewStatus, echo string) { s.User.UID = echo }},
	"a group": {token: func(s *authenticationapi.TokenReviewStatus, echo string) {
		s.User.Groups = []string{echo}
	}},
	"an extra field": {token: func(s *authenticationapi.TokenReviewStatus, echo string) {
		s.User.Extra = map[string]authenticationapi.ExtraValue{"key": {echo}}
	}},
	"the name of an extra field": {token: func(s *authenticationapi.TokenReviewStatus, echo string) {
		s.User.Extra = map[string]authenticationapi.ExtraValue{echo: {"value"}}
	}},
	"the reason of a denial": {access: func(s *authorizationapi.SubjectAccessReviewStatus, echo string) {
		s.Reason = echo
	}},
	"the reason of an access": {access: func(s *authorizationapi.SubjectAccessReviewStatus, echo string) {
		s.Allowed, s.Reason = true, `RBAC: allowed by ClusterRoleBinding "`+echo+`"`
	}},
	"two answers": {access: func(s *authorizationapi.SubjectAccessReviewStatus, echo string) {
		s.Allowed, s.Denied, s.Reason, s.EvaluationError = true, true, echo, echo
	}},
	"a warning": {answer: func(w http.ResponseWriter, echo string) {
		w.Header().Set("Warning", fmt.Sprintf("299 - %q", echo))
		w.WriteHeader(http.StatusForbidden)
	}},
	"a text": {answer: func(w http.ResponseWriter, echo string) { http.Error(w, echo, http.StatusForbidden) }},
	"a Status": {answer: func(w http.ResponseWriter, echo string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
			Status: "Failure", Message: echo, Reason: metav1.StatusReason(echo), Code: http.StatusForbidden,
			Details: &metav1.StatusDetails{Name: echo, Kind: echo}})
	}},
	"another kind": {answer: func(w http.ResponseWriter, echo string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(metav1.TypeMeta{Kind: echo, APIVersion: "v1"})
	}},
	"the content type": {retried: true, answer: func(w http.ResponseWriter, echo string) {
		w.Header().Set("Content-Type", echo)
		w.WriteHeader(http.StatusCreated)
	}},
	"a redirect": {answer: func(w http.ResponseWriter, echo string) {
		w.Header().Set("Location", "http://127.0.0.1:0/"+url.PathEscape(echo))
		w.WriteHeader(http.StatusTemporaryRedirect)
	}},
	"the status line": {answer: func(w http.ResponseWriter, echo string) {
		sendRaw(w, "HTTP/1.1 403 "+echo+"\r\nContent-Length: 0\r\n\r\n")
	}},
	"not HTTP": {answer: func(w http.ResponseWriter, echo string) { sendRaw(w, echo+"\r\n\r\n") }},
	"the transfer encoding": {answer: func(w http.ResponseWriter, echo string) {
		sendRaw(w, "HTTP/1.1 201 Created\r\nTransfer-Encoding: "+echo+"\r\n\r\n")
	}},
}

func sendRaw(w http.ResponseWriter, response string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(response))
}

func (h *hostileReviewer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	place := echoPlaces[h.place]
	var answer any
	if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
		review := &authenticationapi.TokenReview{}
		_ = json.NewDecoder(r.Body).Decode(review)
		h.token = review.Spec.Token
		review.Status.Authenticated, review.Status.User.Username = true, "prometheus"
		if place.token != nil {
			place.token(&review.Status, h.echo(h.token))
		}
		answer = review
	} else {
		review := &authorizationapi.SubjectAccessReview{}
		_ = json.NewDecoder(r.Body).Decode(review)
		if place.access != nil {
			place.access(&review.Status, h.echo(h.token))
		}
		answer = review
	}
	// The answer to the TokenReview is hostile if the token begins with "first". Otherwise, the answer to the
	// SubjectAccessReview is hostile.
	if place.answer != nil && strings.HasSuffix(r.URL.Path, "/tokenreviews") == strings.HasPrefix(h.token, "first") {
		place.answer(w, h.echo(h.token))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(answer)
}

// alphanumeric returns the letters and digits of a text, in lower case.
func alphanumeric(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

// TestReviewerCannotLogToken expects that no log, Decision or metric contains a token, although the reviewer repeats it
// in each place of its answers, in several encodings.
func TestReviewerCannotLogToken(t *testing.T) {
	var log buffer
	captureKlog(t, &log, 7)
	hostile := &hostileReviewer{}
	reviewer := httptest.NewServer(hostile)
	t.Cleanup(reviewer.Close)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), &log, zapcore.DebugLevel)
	f := newFixture(t, fixtureOptions{logger: zap.New(core), reviewer: reviewer.URL,
		authentication: "{webhook: {cacheTTL: 1ns}}", yaml: "authorization: {webhook: " +
			"{cacheAuthorizedTTL: 1ns, cacheUnauthorizedTTL: 1ns}}"})
	client := f.client(t, nil)
	for place, is := range echoPlaces {
		for encoding, echo := range echoes {
			// The beginning of the token determines whether the TokenReview or the SubjectAccessReview gets the hostile
			// answer; see hostileReviewer.
			tokens := []string{"first" + `.s3cret/eyJhbGciOiJSUzI1NiJ9.c3Vi+"x"~`}
			if is.retried && encoding != "as it is" {
				continue
			}
			if is.answer != nil && !is.retried {
				tokens = append(tokens, "second"+tokens[0][5:])
			}
			for _, token := range tokens {
				hostile.mu.Lock()
				hostile.place, hostile.echo = place, echo
				hostile.mu.Unlock()
				from, seen := len(log.String()), f.seen()
				f.ask(t, client, http.MethodGet, "/metrics", "Authorization: Bearer "+token)
				decision, err := json.Marshal(f.decision(t, seen+1))
				if err != nil {
					t.Fatal(err)
				}
				for where, text := range map[string]string{"log": log.String()[from:], "Decision": string(decision)} {
					for _, secret := range []string{echo(token), token[:20]} {
						if strings.Contains(alphanumeric(text), alphanumeric(secret)) {
							t.Errorf("%s, %s: the %s contains the token: %s", place, encoding, where, text)
						}
					}
				}
			}
		}
	}
}
