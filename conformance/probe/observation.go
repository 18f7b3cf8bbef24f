package probe

import "strings"

// observation is everything that was observed of a kubelet.
type observation struct {
	identities  []Identity
	tls         TLS
	certificate *Certificate          // nil if no handshake succeeded
	responses   map[string][]Response // by identity name, in the order of the table rows
	readOnly    ReadOnlyPort
}

// find returns the first response for which the function "matches" returns true, or nil. It looks at the identities in
// their order.
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

// response returns the response to a request (method and path) of an identity.
func (o *observation) response(identity, request string) *Response {
	a := o.find(func(a *Response) bool { return a.identity == identity && a.row.String() == request })
	if a == nil {
		return &Response{Access: NotSent}
	}
	return a
}

// The method "accepted" returns a response that shows that an identity was authenticated, or nil.
func (o *observation) accepted(identity string) *Response {
	return o.find(func(a *Response) bool { return a.identity == identity && a.authenticated() })
}

// The method "refused" reports whether authentication of an identity failed: it got a 401, and no response shows that
// it was authenticated.
func (o *observation) refused(identity string) bool {
	return o.accepted(identity) == nil && o.find(func(a *Response) bool {
		return a.identity == identity && a.Access == Unauthenticated
	}) != nil
}

// isKubelet reports whether at least one response is typical of a kubelet.
func (o *observation) isKubelet() bool {
	return o.find(func(a *Response) bool { return a.kubelet }) != nil
}

// userOf returns the user name of an identity according to the kubelet, or "".
func (o *observation) userOf(identity string) string {
	a := o.find(func(a *Response) bool { return a.identity == identity && a.user != "" })
	if a == nil {
		return ""
	}
	return a.user
}

// requests returns all requests with their responses.
func (o *observation) requests() []Request {
	var all []Request
	for n := range rows {
		r := &rows[n]
		request := Request{Method: r.method, Path: r.path, Rights: r.rights(), Responses: map[string]Response{}}
		for _, i := range o.identities {
			if o.responses != nil {
				request.Responses[i.Name] = o.responses[i.Name][n]
			}
		}
		all = append(all, request)
	}
	return all
}

// list joins the names with semicolons. If there are no names, it returns the second parameter.
func list(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, "; ")
}
