package probe

import (
	"io"
	"slices"

	"fauxlet/internal/color"
)

// Report is the result of a probe.
type Report struct {
	// URL has the host and the port of the target that Run was given. Address is the IP address and port that the
	// probe dialed. If kube-apiserver sent the requests, URL is the URL of the Node's proxy, and Address is empty.
	URL     string `json:"url"`
	Address string `json:"address,omitempty"`
	// Version is the Kubernetes version in the kubelet's /metrics. If no identity may read /metrics, it is
	// Options.NodeVersion.
	Version     string           `json:"version,omitempty"`
	Identities  []IdentityReport `json:"identities"`
	Requests    []Request        `json:"requests"`
	ReadOnly    ReadOnlyPort     `json:"readOnlyPort"`
	TLS         TLS              `json:"tls,omitzero"`
	Certificate *Certificate     `json:"servingCertificate,omitempty"`
	Settings    []Setting        `json:"settings"`
	Findings    []Finding        `json:"findings"`
	Comparison  *Comparison      `json:"comparison,omitempty"`
	// NotProbed lists what a probe through kube-apiserver did not look at. It is empty for a direct probe.
	NotProbed []Omission `json:"notProbed,omitempty"`
	// Incomplete means that a probe through kube-apiserver could not read the kubelet's /configz. Then the absence of
	// findings means little, because most findings of such a probe come from the settings there.
	Incomplete bool `json:"incomplete,omitempty"`
}

// IdentityReport describes a client that sent the requests.
type IdentityReport struct {
	Name string `json:"name"`
	// Credential describes the client's credentials.
	Credential string `json:"credential"`
	// User is the client's user name in a 403 or 500 of the kubelet; empty if there was no such response.
	User string `json:"user,omitempty"`
}

// Request is one of the fixed requests, with the responses to all identities.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	// Rights are the RBAC permissions for the request, for example "get nodes/proxy". One of them is sufficient.
	Rights []string `json:"rights"`
	// Responses are keyed by identity name.
	Responses map[string]Response `json:"responses"`
}

// Dangerous reports whether any finding is more severe than Note.
func (r *Report) Dangerous() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity != Note })
}

// Differs reports whether the comparison found a difference.
func (r *Report) Differs() bool { return r.Comparison != nil && len(r.Comparison.Differences) > 0 }

// HasResponses reports whether the secure port responded to any request.
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

// WriteJSON writes the report as indented JSON. report.schema.json describes it.
func (r *Report) WriteJSON(w io.Writer) error {
	return color.WriteJSON(w, r, "  ")
}
