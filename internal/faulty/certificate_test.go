package faulty_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestCertificateStaysTheSame checks that a node with a serving-certificate fault presents the same certificate in each
// handshake, as a kubelet does. The node presents different certificates for different server names, and a new
// certificate after more than an hour.
func TestCertificateStaysTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, set := node()
		add(t, set, `{"kind": "serving-certificate", "certificate": "server-not-yet-valid"}`)
		conn, other := net.Pipe()
		defer conn.Close()
		defer other.Close()
		get := n.GetCertificate(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil })
		present := func(serverName string) []byte {
			t.Helper()
			certificate, err := get(&tls.ClientHelloInfo{ServerName: serverName, Conn: conn})
			if err != nil {
				t.Fatal(err)
			}
			return certificate.Certificate[0]
		}
		first := present("a.example")
		if !bytes.Equal(present("a.example"), first) {
			t.Error("the second handshake has another certificate")
		}
		if bytes.Equal(present("b.example"), first) {
			t.Error("the certificate for another host is the same")
		}
		time.Sleep(2 * time.Hour)
		if bytes.Equal(present("a.example"), first) {
			t.Error("after two hours the certificate is the same")
		}
	})
}
