package reviewapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/client-go/kubernetes/scheme"
)

// maxBody is kube-apiserver's limit for the body of a request, in bytes.
const maxBody = 3 << 20

// asIs decodes objects without conversion to another API version.
var asIs = scheme.Codecs.WithoutConversion()

// endpoint is a path of the API, where reviews of one kind are created.
type endpoint struct {
	gvk    schema.GroupVersionKind
	answer func(s *Server, r *http.Request, object runtime.Object, record *Record) (runtime.Object, error)
}

var endpoints = map[string]endpoint{
	"/apis/authentication.k8s.io/v1/tokenreviews": {
		authenticationv1.SchemeGroupVersion.WithKind("TokenReview"), (*Server).reviewToken},
	"/apis/authorization.k8s.io/v1/subjectaccessreviews": {
		authorizationv1.SchemeGroupVersion.WithKind("SubjectAccessReview"), (*Server).reviewAccess},
}

// Handler returns the API's handler, for callers that do not use [Server.Serve]. Without Serve, changes of the files
// have no effect. As with the default RBAC rules of a kube-apiserver, the health and version paths need no credential.
// All other paths need an authenticated caller.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache, private")
	switch r.URL.Path {
	case "/healthz", "/livez", "/readyz":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, "ok")
		return
	case "/version":
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			fail(w, r, withStatus(http.StatusMethodNotAllowed))
			return
		}
		info := version.Info{Major: "1", Minor: "37", GitVersion: "v1.37.2+fauxlet"}
		responsewriters.WriteRawJSON(http.StatusOK, info, w)
		return
	}
	if _, authenticated, err := s.callers.AuthenticateRequest(r); err != nil || !authenticated {
		fail(w, r, apierrors.NewUnauthorized("Unauthorized"))
		return
	}
	endpoint, found := endpoints[r.URL.Path]
	switch {
	case !found:
		fail(w, r, withStatus(http.StatusNotFound))
	case r.Method != http.MethodPost:
		fail(w, r, withStatus(http.StatusMethodNotAllowed))
	default:
		s.review(w, r, endpoint)
	}
}

// withStatus returns the error that kube-apiserver sends with the given HTTP status.
func withStatus(code int) error {
	return apierrors.NewGenericServerResponse(code, "", schema.GroupResource{}, "", "", 0, false)
}

// fail writes err as a Status object in an encoding that the client accepts.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	responsewriters.ErrorNegotiated(err, scheme.Codecs, metav1.Unversioned, w, r)
}

// review reads, answers and records one review. A body that cannot be decoded is not recorded.
// (k8s.io/apiserver: pkg/endpoints/handlers/create.go)
func (s *Server) review(w http.ResponseWriter, r *http.Request, e endpoint) {
	object, err := s.read(w, r, e)
	if err != nil {
		fail(w, r, err)
		return
	}
	record := Record{Time: time.Now(), Kind: e.gvk.Kind, Code: http.StatusCreated}
	answer, err := e.answer(s, r, object, &record)
	if err != nil {
		status := responsewriters.ErrorToAPIStatus(err)
		record.Code, record.Message = int(status.Code), status.Message
	}
	s.records.add(record)
	if err != nil {
		fail(w, r, err)
		return
	}
	responsewriters.WriteObjectNegotiated(scheme.Codecs, negotiation.DefaultEndpointRestrictions, e.gvk.GroupVersion(),
		w, r, http.StatusCreated, answer, false)
}

// read decodes the body. The query parameter fieldValidation selects whether unknown fields are ignored, cause Warning
// headers, or are an error.
func (s *Server) read(w http.ResponseWriter, r *http.Request, e endpoint) (runtime.Object, error) {
	if _, _, err := negotiation.NegotiateOutputMediaType(r, scheme.Codecs,
		negotiation.DefaultEndpointRestrictions); err != nil {
		return nil, err
	}
	input, err := negotiation.NegotiateInputSerializer(r, false, scheme.Codecs)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
		}
		return nil, apierrors.NewBadRequest("the body of the request could not be read to its end")
	}
	directive := r.URL.Query().Get("fieldValidation")
	options := &metav1.CreateOptions{FieldValidation: directive, DryRun: r.URL.Query()["dryRun"]}
	if errs := metav1validation.ValidateCreateOptions(options); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "CreateOptions"}, "", errs)
	}
	serializer := input.StrictSerializer
	if directive == metav1.FieldValidationIgnore {
		serializer = input.Serializer
	}
	object, gvk, err := asIs.DecoderToVersion(serializer, e.gvk.GroupVersion()).Decode(body, &e.gvk, nil)
	if err != nil {
		strict, isStrict := runtime.AsStrictDecodingError(err)
		if !isStrict || object == nil || directive == metav1.FieldValidationStrict {
			return nil, undecodable(err, gvk, e.gvk)
		}
		for _, problem := range strict.Errors() {
			if header, err := utilnet.NewWarningHeader(299, "-", problem.Error()); err == nil {
				w.Header().Add("Warning", header)
			}
		}
	}
	switch {
	case gvk.Kind != e.gvk.Kind:
		return nil, undecodable(fmt.Errorf("this path accepts only the kind %s", e.gvk.Kind), gvk, e.gvk)
	case gvk.GroupVersion() != e.gvk.GroupVersion():
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the "+
			"expected API version (%s)", gvk.GroupVersion(), e.gvk.GroupVersion()))
	}
	return object, nil
}

// undecodable returns the error that kube-apiserver sends if the body is not the expected review. Unlike
// kube-apiserver's error, it does not quote the body, because the body may contain a token.
func undecodable(err error, found *schema.GroupVersionKind, wanted schema.GroupVersionKind) error {
	if found != nil && found.Kind != "" {
		return apierrors.NewBadRequest(
			fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", found.Kind, found.Version, wanted.Kind, err))
	}
	return apierrors.NewBadRequest(
		fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v", wanted.Kind, err))
}
