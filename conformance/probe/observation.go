package probe

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// observation has everything that the probe learned from the kubelet's TLS handshakes and HTTP responses.
type observation struct {
	identities  []Identity
	tls         TLS
	certificate *Certificate          // nil if no handshake succeeded
	responses   map[string][]Response // by identity name, in the order of the table rows
	nodeVersion string                // the version in the Node, if the kubelet is the kubelet of a known Node
	refusals    *refusals             // nil if the responses show without it whether the server is a kubelet
	readOnly    ReadOnlyPort

	throughAPIServer bool // kube-apiserver sent the requests, so there is one identity, and no TLS handshake was seen
}

// find returns the first response for which the function "matches" returns true. It reads the responses of one
// identity after the other, in the order of the field "identities". It returns nil if no response matches.
func (o *observation) find(matches func(*Response) bool) *Response {
	for _, i := range o.identities {
		for n := range o.responses[i.Name] {
			if a := &o.responses[i.Name][n]; matches(a) {
				return a
			}
		}
	}
	return nil
}

// response returns the response to a request that an identity sent. The request is given as method and path, for
// example "GET /pods". If there is no such response, the result has the Access value NotSent.
func (o *observation) response(identity, request string) *Response {
	return cmp.Or(o.find(func(a *Response) bool { return a.identity == identity && a.row.String() == request }),
		&Response{Access: NotSent})
}

// accepted returns a response that shows that an identity was authenticated. It returns nil if there is none.
func (o *observation) accepted(identity string) *Response {
	return o.find(func(a *Response) bool { return a.identity == identity && a.authenticated() })
}

// refused reports whether the kubelet sent an identity a 401, and no response that shows successful authentication.
func (o *observation) refused(identity string) bool {
	return o.accepted(identity) == nil && o.find(func(a *Response) bool {
		return a.identity == identity && a.Access == Unauthenticated
	}) != nil
}

// isKubelet reports whether at least one response is typical of a kubelet.
func (o *observation) isKubelet() bool {
	return o.find(func(a *Response) bool { return a.kubelet }) != nil || o.refusals.ofKubelet()
}

// refusals has the responses to two requests without a credential: to a path that every kubelet serves, and to a path
// that no kubelet serves. A 401 with the text Unauthorized alone does not show that the server is a kubelet, because
// other programs send it too.
type refusals struct{ pods, unserved Response }

// ofKubelet reports whether the server refuses the path of a kubelet, and answers the other path without
// authentication. A server without a handler for /pods, or one that authenticates every request, does not do both.
func (r *refusals) ofKubelet() bool {
	return r != nil && r.pods.bare && r.unserved.Access == NotServed && r.unserved.Status == http.StatusNotFound
}

// notKubelet returns an error if the server did not respond like a kubelet. A kubelet without a serving certificate
// does not respond at all, but its TLS alert is typical.
func (o *observation) notKubelet() error {
	if o.isKubelet() || o.readOnly.State == Open || o.tls.pending() {
		return nil
	}
	answered := o.find(func(a *Response) bool { return a.Status != 0 })
	failed := cmp.Or(o.find(func(a *Response) bool { return a.Error != "" }), &Response{Error: unknown})
	switch {
	case strings.Contains(o.tls.Error, "first record does not look like a TLS handshake"):
		return errors.New("not a kubelet's secure port: the server does not use TLS; give the port in the Node's " +
			"status.daemonEndpoints.kubeletEndpoint, usually 10250")
	case answered == nil:
		return fmt.Errorf("no request was answered; first error: %s", cmp.Or(o.tls.Error, failed.Error))
	case answered.Access == NoResponse:
		return fmt.Errorf("no kubelet responded: %s: %s", answered, answered.Error)
	case o.find(func(a *Response) bool { return a.apiServer }) != nil:
		return fmt.Errorf("not a kubelet: %s, in the form of a kube-apiserver's answers; give the address of a node",
			answered)
	}
	if r := o.refusals; r != nil && r.pods.bare {
		const text = "may be a kubelet, but cannot be recognized: it answers 401 to GET /pods, as kubelets and other " +
			"servers do, but %s, to which a kubelet answers 404, got %s"
		if r.unserved.Status == 0 {
			return fmt.Errorf(text, &unservedRow, "no response: "+r.unserved.Error)
		}
		return fmt.Errorf(text, &unservedRow, strconv.Itoa(r.unserved.Status)+"; perhaps a proxy is in front of it")
	}
	return fmt.Errorf("not a kubelet: no response is one that a kubelet sends; the first is %s", answered)
}

// userOf returns the user name that the kubelet's responses give for an identity. It returns "" if none of them
// contains a user name.
func (o *observation) userOf(identity string) string {
	return cmp.Or(o.find(func(a *Response) bool { return a.identity == identity && a.user != "" }), &Response{}).user
}

// report returns the report without the URL and the address of the kubelet.
func (o *observation) report(now time.Time) *Report {
	r := &Report{Version: o.version(), Requests: o.requests(), ReadOnly: o.readOnly, TLS: o.tls,
		Certificate: o.certificate, Settings: o.settings(), Findings: o.findings(now)}
	for _, i := range o.identities {
		r.Identities = append(r.Identities, IdentityReport{i.Name, i.credential(), o.userOf(i.Name)})
	}
	if o.throughAPIServer {
		r.Identities[0].Credential = "the credential of kube-apiserver at kubelets"
	}
	return r
}

// requests returns the fixed requests, each with the responses to all identities.
func (o *observation) requests() []Request {
	var all []Request
	v, fine := parseVersion(o.version()), o.values()[fineGrained]
	for n := range rows {
		r := &rows[n]
		request := Request{Method: r.method, Path: r.path, Rights: r.rights(v, fine), Responses: map[string]Response{}}
		for _, i := range o.identities {
			if o.responses != nil {
				request.Responses[i.Name] = o.responses[i.Name][n]
			}
		}
		all = append(all, request)
	}
	return all
}

// version returns the kubelet's version, or "" if it is unknown.
func (o *observation) version() string { return cmp.Or(o.metric(versionMetric), o.nodeVersion) }

// list joins the names with semicolons. If there are no names, it returns the value of the parameter "none".
func list(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, "; ")
}
