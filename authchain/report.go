package authchain

import (
	"crypto/tls"
	"encoding/json"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Report is the JSON form of a [Decision]. It can be marshalled and unmarshalled.
type Report struct {
	Time     time.Time     `json:"time"`
	Duration time.Duration `json:"durationNanoseconds"`

	Remote     string      `json:"remote"`
	Connection *Connection `json:"connection,omitempty"`
	Method     string      `json:"method,omitempty"`
	Path       string      `json:"path,omitempty"`
	// Traceparent is the traceparent header that the client sent.
	Traceparent string `json:"traceparent,omitempty"`

	Authentication []Step    `json:"authentication,omitempty"`
	User           *UserInfo `json:"user,omitempty"`
	Authorization  []Check   `json:"authorization,omitempty"`

	// Outcome, By, Cached and Why are the results of the Decision's methods with the same names.
	Outcome string `json:"outcome,omitempty"`
	By      Method `json:"by,omitempty"`
	Cached  bool   `json:"cached,omitempty"`
	Why     string `json:"why,omitempty"`

	Status    int    `json:"status,omitempty"`
	Err       string `json:"error,omitempty"`
	Handshake string `json:"handshake,omitempty"`
	NoRequest string `json:"noRequest,omitempty"`

	AffectedBy []string `json:"affectedBy,omitempty"`
}

// UserInfo is an authenticated user. It has the fields of a TokenReview's user.
type UserInfo struct {
	Name   string              `json:"name"`
	UID    string              `json:"uid,omitempty"`
	Groups []string            `json:"groups,omitempty"`
	Extra  map[string][]string `json:"extra,omitempty"`
}

// Connection describes the TLS connection of a request in a [Report].
type Connection struct {
	Version     string `json:"version"`
	CipherSuite string `json:"cipherSuite"`
	// ServerName is the SNI that the client sent.
	ServerName string `json:"serverName,omitempty"`
	// Protocol is the protocol negotiated by ALPN.
	Protocol string `json:"protocol,omitempty"`
	// Resumed is true if the handshake resumed an earlier TLS session.
	Resumed     bool         `json:"resumed,omitempty"`
	Certificate *Certificate `json:"clientCertificate,omitempty"`
}

// Certificate describes the client certificate of a [Connection], whether or not it has been verified.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Serial    string    `json:"serial"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

// Report returns the Report of a complete Decision. The Report and the Decision share slices and maps, which must
// not be changed.
func (d *Decision) Report() Report {
	return Report{
		Time: d.Time, Duration: d.Duration,
		Remote: d.Remote, Connection: connectionOf(d.TLS), Method: d.Method, Path: d.Path, Traceparent: d.Traceparent,
		Authentication: d.Authentication, User: userInfoOf(d.User), Authorization: d.Authorization,
		Outcome: d.Outcome(), By: d.By(), Cached: d.Cached(), Why: d.Why(),
		Status: d.Status, Err: d.Err, Handshake: d.Handshake, NoRequest: d.NoRequest, AffectedBy: d.AffectedBy,
	}
}

// MarshalJSON returns the JSON of the Decision's [Report].
func (d *Decision) MarshalJSON() ([]byte, error) { return json.Marshal(d.Report()) }

func userInfoOf(u user.Info) *UserInfo {
	if u == nil {
		return nil
	}
	return &UserInfo{Name: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: u.GetExtra()}
}

func connectionOf(state *tls.ConnectionState) *Connection {
	if state == nil {
		return nil
	}
	c := &Connection{
		Version: tls.VersionName(state.Version), CipherSuite: tls.CipherSuiteName(state.CipherSuite),
		ServerName: state.ServerName, Protocol: state.NegotiatedProtocol, Resumed: state.DidResume,
	}
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		c.Certificate = &Certificate{
			Subject: leaf.Subject.String(), Issuer: leaf.Issuer.String(), Serial: leaf.SerialNumber.String(),
			NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		}
	}
	return c
}
