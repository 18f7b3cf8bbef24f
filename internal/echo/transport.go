package echo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Removed stands in place of a text that repeats a token.
const Removed = "(removed, because it repeats the token)"

// Transport is an http.RoundTripper for the clients of an API server. If a warning or an error in a response repeats
// the token or password of its request, the Transport removes it, because client-go logs warnings and errors. It does
// not change the body of a response with a status below 400. As the WrapTransport of a rest.Config, it sees the header
// Authorization that client-go adds.
type Transport struct{ http.RoundTripper }

// maxError limits how much of an error is read, in bytes. The rest is dropped.
const maxError = 1 << 20

func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(r)
	secrets := Credentials(r.Header.Get("Authorization"))
	if err != nil || len(secrets) == 0 {
		return response, err
	}
	repeats := func(texts ...string) bool {
		for _, secret := range secrets {
			if Repeats(secret, texts...) {
				return true
			}
		}
		return false
	}
	if repeats(response.Header["Warning"]...) {
		response.Header.Del("Warning")
	}
	if repeats(response.Status) {
		response.Status = fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode))
	}
	if response.StatusCode < http.StatusBadRequest {
		return response, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxError))
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	if repeats(string(body)) {
		body, err = json.Marshal(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status: metav1.StatusFailure, Message: Removed, Code: int32(response.StatusCode),
			Reason: reasons[response.StatusCode]})
		if err != nil {
			return nil, err
		}
		response.Header.Set("Content-Type", "application/json")
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return response, nil
}

// reasons has the reasons that clients distinguish.
var reasons = map[int]metav1.StatusReason{
	http.StatusUnauthorized: metav1.StatusReasonUnauthorized, http.StatusForbidden: metav1.StatusReasonForbidden,
	http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusConflict: metav1.StatusReasonConflict,
}

// Credentials returns the secrets in the value of a header Authorization: what follows the scheme, and with the scheme
// Basic also the password.
func Credentials(authorization string) (secrets []string) {
	_, token, _ := strings.Cut(authorization, " ")
	if token = strings.TrimSpace(token); token == "" {
		return nil
	}
	request := http.Request{Header: http.Header{"Authorization": {authorization}}}
	if _, password, ok := request.BasicAuth(); ok && password != "" {
		return []string{token, password}
	}
	return []string{token}
}
