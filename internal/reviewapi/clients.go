package reviewapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
)

// Clients returns clients that pass TokenReviews and SubjectAccessReviews to the server in memory, without a listener.
func (s *Server) Clients() (authenticationclient.AuthenticationV1Interface,
	authorizationclient.AuthorizationV1Interface, error) {
	return ClientsOf(s.RESTConfig("in-memory"), s.Handler())
}

// ClientsOf returns clients for TokenReviews and SubjectAccessReviews. Their requests go to a handler in memory,
// without a network connection.
func ClientsOf(config *rest.Config, handler http.Handler) (authenticationclient.AuthenticationV1Interface,
	authorizationclient.AuthorizationV1Interface, error) {
	config.TLSClientConfig, config.Transport = rest.TLSClientConfig{}, inMemory{handler}
	tokens, err := authenticationclient.NewForConfig(config)
	if err != nil {
		return nil, nil, err
	}
	access, err := authorizationclient.NewForConfig(config)
	return tokens, access, err
}

// inMemory is an http.RoundTripper that calls a handler in place of sending the request over a network.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(request *http.Request) (_ *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the handler of the in-memory review API panicked: %v", p)
		}
	}()
	r := request.Clone(request.Context())
	r.RequestURI = request.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer r.Body.Close()
	w := httptest.NewRecorder()
	m.handler.ServeHTTP(w, r)
	response := w.Result()
	response.Request = request
	return response, nil
}
