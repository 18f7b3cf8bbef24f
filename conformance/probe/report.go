package probe

import (
	"encoding/json"
	"io"
	"slices"
)

// Report is what a probe has found.
type Report struct {
	// URL is what was probed, Address what was dialled.
	URL     string `json:"url"`
	Address string `json:"address"`
	// Version is the kubelet's own word, where somebody may read /metrics.
	Version     string           `json:"version,omitempty"`
	Identities  []IdentityReport `json:"identities"`
	Requests    []Request        `json:"requests"`
	ReadOnly    ReadOnlyPort     `json:"readOnlyPort"`
	TLS         TLS              `json:"tls"`
	Certificate *Certificate     `json:"servingCertificate,omitempty"`
	Settings    []Setting        `json:"settings"`
	Findings    []Finding        `json:"findings"`
	Comparison  *Comparison      `json:"comparison,omitempty"`
}

// IdentityReport is somebody whom the kubelet was asked as.
type IdentityReport struct {
	Name string `json:"name"`
	// Credential says what kind of credential it has.
	Credential string `json:"credential"`
	// User is whom the kubelet took it for, where a refusal said so.
	User string `json:"user,omitempty"`
}

// Request is a row of the matrix.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	// Rights are what RBAC has to allow, one of them, as in "get nodes/proxy".
	Rights []string `json:"rights"`
	// Responses are by the name of the identity.
	Responses map[string]Response `json:"responses"`
}

// Dangerous says whether there is a finding that is more than a note.
func (r *Report) Dangerous() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity != Note })
}

// Differs says whether the kubelet is not as the configuration that it was held against.
func (r *Report) Differs() bool { return r.Comparison != nil && len(r.Comparison.Differences) > 0 }

// HasResponses says whether there is any answer of the secure port; without one, little is known.
func (r *Report) HasResponses() bool {
	for _, request := range r.Requests {
		for _, a := range request.Responses {
			if a.Status != 0 {
				return true
			}
		}
	}
	return false
}

// FirstError is the first reason that there is for no answer.
func (r *Report) FirstError() string {
	if r.TLS.Error != "" {
		return r.TLS.Error
	}
	for _, i := range r.Identities {
		for _, request := range r.Requests {
			if a := request.Responses[i.Name]; a.Error != "" {
				return a.Error
			}
		}
	}
	return unknown
}

// WriteJSON writes the report, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// requests are the rows of the matrix with their answers.
func (o *observation) requests() []Request {
	all := make([]Request, len(rows))
	for n := range rows {
		r := &rows[n]
		all[n] = Request{Method: r.method, Path: r.path, Rights: r.rights(), Responses: map[string]Response{}}
		for _, i := range o.identities {
			if n < len(o.answers[i.Name]) {
				all[n].Responses[i.Name] = o.answers[i.Name][n]
			}
		}
	}
	return all
}

// userOf is whom the kubelet takes an identity for, by its own word.
func (o *observation) userOf(identity string) string {
	for _, a := range o.answers[identity] {
		if a.user != "" {
			return a.user
		}
	}
	return ""
}
