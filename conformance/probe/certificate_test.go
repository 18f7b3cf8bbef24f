package probe

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"fauxlet/testcerts"
)

// TestNode checks for which node each kind of serving certificate would pass a verification of the node's name.
func TestNode(t *testing.T) {
	ca, err := testcerts.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]string{
		"server":                  "node-1",
		"server-other-node":       "other-node",
		"server-kubelet-default":  "",
		"server-common-name-only": "",
	} {
		t.Run(kind, func(t *testing.T) {
			k, err := testcerts.KindNamed(kind)
			if err != nil {
				t.Fatal(err)
			}
			request := testcerts.Request{CommonName: "node-1"}
			if k.NeedsHosts {
				request.Hosts = []string{"127.0.0.1"}
			}
			pair, err := k.Mint(ca, request)
			if err != nil {
				t.Fatal(err)
			}
			c := describeCertificate([]*x509.Certificate{pair.Leaf}, "127.0.0.1", nil, time.Now())
			text := "none: a kube-apiserver that verifies the node's name would refuse the certificate"
			if want != "" {
				text = want + ": a kube-apiserver that verifies the node's name accepts the certificate for this " +
					"node only"
			}
			if c.Node != want || !strings.HasPrefix(c.nodeText(), text) {
				t.Errorf("the node is %q (%s), want %q", c.Node, c.nodeText(), want)
			}
		})
	}
}
