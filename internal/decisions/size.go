package decisions

import "fauxlet/authchain"

// Approximate sizes of the parts of a Decision in memory, in bytes.
const (
	sizeOfDecision    = 700 // includes the Entry and the request context of the Decision
	sizeOfStep        = 144
	sizeOfCheck       = 208
	sizeOfString      = 16 // the string header; the bytes of the text are counted separately
	sizeOfConnection  = 400
	sizeOfCertificate = 2 << 10 // sizeOf adds the DER bytes twice, because a certificate keeps them raw and parsed
)

// sizeOf estimates the memory that a Decision keeps alive, in bytes. It counts shared parts once for each Decision. For
// example, all requests of a connection share their client certificates, and a cache may share a user.
func sizeOf(d *authchain.Decision) int64 {
	n := sizeOfDecision
	for _, text := range []string{d.Remote, d.Method, d.Path, d.Err, d.Handshake, d.NoRequest, d.Traceparent} {
		n += len(text)
	}
	n += sizeOfStrings(d.AffectedBy)
	for i := range d.Authentication {
		n += sizeOfStep + len(d.Authentication[i].Reason)
	}
	for i := range d.Authorization {
		n += sizeOfCheck + len(d.Authorization[i].Reason)
	}
	if d.User != nil {
		n += len(d.User.GetName()) + len(d.User.GetUID()) + sizeOfStrings(d.User.GetGroups())
		for key, values := range d.User.GetExtra() {
			n += sizeOfString + len(key) + sizeOfStrings(values)
		}
	}
	if d.TLS != nil {
		n += sizeOfConnection
		for _, certificate := range d.TLS.PeerCertificates {
			n += sizeOfCertificate + 2*len(certificate.Raw)
		}
	}
	return int64(n)
}

func sizeOfStrings(all []string) int {
	n := 0
	for _, s := range all {
		n += sizeOfString + len(s)
	}
	return n
}
