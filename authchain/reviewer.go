package authchain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"fauxlet/internal/echo"
)

// A reviewer is an API server that answers reviews. It receives tokens, and could repeat a token in any text that it
// sends. Therefore the reviewer's errors and warnings are neither recorded nor logged. This file replaces them with
// fixed texts. The user of a TokenReview and the reason of a SubjectAccessReview are recorded, unless they repeat the
// token of the request.

// withoutWarnings wraps the REST client that sends reviews. It ignores the Warning headers of the reviewer's responses,
// because client-go would log them.
type withoutWarnings struct{ rest.Interface }

func (c withoutWarnings) Post() *rest.Request {
	return c.Interface.Post().WarningHandlerWithContext(rest.NoWarnings{})
}

// withoutLog returns a context for sending a review. With this context, client-go logs nothing about the review.
// Otherwise, client-go's log lines could contain headers and errors from the reviewer.
func withoutLog(ctx context.Context) context.Context { return klog.NewContext(ctx, logr.Discard()) }

// withoutReviewErrors is a filter for klog. It removes the errors of reviews from the log lines that the webhooks of
// k8s.io/apiserver write with klog. withoutLog does not affect these log lines, because the webhooks do not use the
// logger in the context. (plugin/pkg/authenticator/token/webhook, plugin/pkg/authorizer/webhook)
type withoutReviewErrors struct{}

// This runs in init, because klog does not allow setting the filter while another goroutine logs.
func init() { klog.SetLogFilter(withoutReviewErrors{}) }

func (withoutReviewErrors) Filter(args []any) []any { return args }

func (withoutReviewErrors) FilterF(format string, args []any) (string, []any) {
	if text, _, _ := strings.Cut(format, ": "); strings.HasPrefix(text, "Failed to make webhook ") {
		return text, nil
	}
	return format, args
}

func (withoutReviewErrors) FilterS(text string, values []any) (string, []any) { return text, values }

// explainFailedReview describes why a review failed. The description contains no text that the reviewer could choose.
func explainFailedReview(err error) string {
	var status apierrors.APIStatus
	var certificate *tls.CertificateVerificationError
	var call *os.SyscallError
	var dns *net.DNSError
	var operation *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &status):
		code := int(status.Status().Code)
		if text := http.StatusText(code); text != "" { // the body of the answer can contain any code
			return fmt.Sprintf("the apiserver answered %d %s", code, text)
		}
	case errors.Is(err, context.Canceled):
		return "the client closed its request before the apiserver answered"
	case errors.As(err, &dns):
		return "the apiserver's host name cannot be resolved"
	case errors.As(err, &certificate):
		return "the apiserver's serving certificate is not valid: " + explainServingCertificate(certificate.Err)
	case errors.As(err, &call): // the name of the system call and its error
		return "no connection to the apiserver: " + call.Error()
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "the apiserver did not answer in time"
	case errors.As(err, &operation) && operation.Op == "remote error": // a TLS alert; its text is Go's
		return "the apiserver ended the TLS handshake: " + operation.Err.Error()
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the apiserver's port does not speak TLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the apiserver closed the connection"
	case err != nil && strings.Contains(err.Error(), "getting credentials: "): // client-go: plugin/pkg/client/auth/exec, RoundTrip
		return "the kubeconfig's credential plugin failed"
	}
	return "the review could not be sent, or the apiserver gave no valid answer"
}

func explainServingCertificate(err error) string {
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "its CA is not in the kubeconfig"
	case errors.As(err, &hostname):
		return "it does not name the apiserver's address"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired or is not valid yet"
	}
	return "it cannot be verified"
}

// knownTokenErrors lists texts that occur in kube-apiserver's errors about tokens. If the error of a TokenReview
// contains some of these texts, the Decision shows those texts and nothing else of the error. (k8s.io/kubernetes:
// pkg/serviceaccount; k8s.io/apiserver: pkg/authentication/request/bearertoken, plugin/pkg/authenticator/token/oidc)
var knownTokenErrors = []string{
	"invalid bearer token",
	"token lookup failed",
	"service account token has expired",
	"service account token is not valid yet",
	"service account token is issued in the future",
	"service account token has been invalidated",
	"service account token claims could not be validated",
	"Token has been invalidated",
	"Token does not match server's copy",
	"has been deleted",
	"has been marked invalid",
	"does not match claim",
	"ref claim",
	"is invalid for the target audiences",
	"invalid signature, no keys found",
	"oidc: token is expired",
	"oidc: verify token",
	"oidc: expected audience",
	"oidc: authenticator not initialized",
	"multiple base64.bearer.authorization tokens specified",
	"invalid base64.bearer.authorization token",
	"missing additional subprotocol",
}

// explainTokenError returns the known texts that the reviewer's error about a token contains.
func explainTokenError(err error) string {
	var known []string
	for _, text := range knownTokenErrors {
		if strings.Contains(err.Error(), text) {
			known = append(known, text)
		}
	}
	if strings.Contains(err.Error(), `serviceaccounts "`) && strings.Contains(err.Error(), `" not found`) {
		known = append(known, "the service account does not exist")
	}
	if len(known) == 0 {
		return "not authenticated, for a reason that is not shown because it could repeat the token"
	}
	return strings.Join(known, ", ")
}

// removed is recorded in place of a text from the reviewer, if that text repeats the token.
const removed = echo.Removed

// reviewedUser is the user that a TokenReview returned for a token.
type reviewedUser struct {
	user.Info
	repeatsToken bool
	// harmless is the last reason of a SubjectAccessReview that did not repeat the token. If the next reason is equal,
	// it is not compared with the token again. With cached reviews, this comparison would take longer than everything
	// else that the chain does for a request.
	harmless atomic.Pointer[string]
}

func newReviewedUser(u user.Info, token string) *reviewedUser {
	texts := append([]string{u.GetName(), u.GetUID()}, u.GetGroups()...)
	for key, values := range u.GetExtra() {
		texts = append(append(texts, key), values...)
	}
	return &reviewedUser{Info: u, repeatsToken: echo.Repeats(token, texts...)}
}

// secret holds the token of a request and the user that the token's review returned. A request without a token has the
// zero secret.
type secret struct {
	token    string
	reviewed *reviewedUser
}

// recordedUser returns the user to record in the Decision. If the reviewer's user repeats the token, the result is a
// user without UID, groups and extra, whose name is the text of the constant "removed".
func (s *secret) recordedUser(u user.Info) user.Info {
	if s.reviewed != nil && s.reviewed.repeatsToken {
		return &user.DefaultInfo{Name: removed}
	}
	return u
}

// recordedReason returns the text to record in the Decision for the reason of a SubjectAccessReview.
func (s *secret) recordedReason(reason string) string {
	if s.reviewed == nil || reason == "" {
		return reason
	}
	if harmless := s.reviewed.harmless.Load(); harmless != nil && *harmless == reason {
		return reason
	}
	if echo.Repeats(s.token, reason) {
		return removed
	}
	s.reviewed.harmless.Store(&reason)
	return reason
}
