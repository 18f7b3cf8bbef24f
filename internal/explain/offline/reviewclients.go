package offline

import (
	"net/http"
	"net/http/httptest"

	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"

	"fauxlet/internal/reviewapi"
)

// ReviewClients returns clients that pass TokenReviews and SubjectAccessReviews to a review API in memory, without a
// listener.
func ReviewClients(api *reviewapi.Server) (
	authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface, error) {
	return clientsOf(api.RESTConfig("offline"), api.Handler())
}

// clientsOf returns clients whose requests the handler answers in memory.
func clientsOf(config *rest.Config, handler http.Handler) (
	authenticationv1.AuthenticationV1Interface, authorizationv1.AuthorizationV1Interface, error) {
	config.TLSClientConfig = rest.TLSClientConfig{}
	config.Transport = inMemory{handler}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := authenticationv1.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, nil, err
	}
	access, err := authorizationv1.NewForConfigAndClient(config, client)
	return tokens, access, err
}

// inMemory is an http.RoundTripper that calls a handler.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(request *http.Request) (*http.Response, error) {
	r := request.Clone(request.Context())
	r.RequestURI = request.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	serve(m.handler, w, r)
	_ = r.Body.Close()
	response := w.Result()
	response.Request = request
	return response, nil
}
