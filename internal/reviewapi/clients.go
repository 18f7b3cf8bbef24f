package reviewapi

import (
	"context"
	"errors"
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

// inMemory is an http.RoundTripper that calls a handler instead of sending the request over a network. As over a
// network, a request ends when its context ends, even if the handler ignores the context.
type inMemory struct{ handler http.Handler }

func (m inMemory) RoundTrip(request *http.Request) (*http.Response, error) {
	r := request.Clone(request.Context())
	r.RequestURI = request.URL.RequestURI()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	served := make(chan error, 1)
	go func() {
		err := errors.New("the handler of the in-memory review API ended its goroutine") // as t.Fatal does
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the handler of the in-memory review API panicked: %v", p)
			}
			served <- err
		}()
		defer r.Body.Close()
		m.handler.ServeHTTP(w, r)
		err = nil
	}()
	select {
	case err := <-served:
		if err != nil {
			return nil, err
		}
		response := w.Result()
		response.Request = request
		return response, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}
