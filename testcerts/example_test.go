package testcerts_test

import (
	"crypto/x509"
	"fmt"
	"log"

	"fauxlet/testcerts"
)

// A CA signs a valid client certificate, and a client certificate with the wrong extended key usage.
func Example() {
	ca, err := testcerts.NewAuthority("cluster-ca")
	if err != nil {
		log.Fatal(err)
	}
	for _, mutate := range [][]testcerts.Mutate{nil, {testcerts.ServerAuthOnly}} {
		client, err := ca.Client("kubelet-client", []string{"operators"}, mutate...)
		if err != nil {
			log.Fatal(err)
		}
		_, err = client.Leaf.Verify(x509.VerifyOptions{
			Roots:     ca.Pool(),
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		fmt.Printf("%s: %v\n", client.Leaf.Subject, err)
	}
	// Output:
	// CN=kubelet-client,O=operators: <nil>
	// CN=kubelet-client,O=operators: x509: certificate specifies an incompatible key usage
}

// A Mutate function can make certificates for which there is no Kind.
func ExampleAuthority_Server() {
	ca, err := testcerts.NewAuthority("cluster-ca")
	if err != nil {
		log.Fatal(err)
	}
	pair, err := ca.Server("node-1", []string{"node-1", "192.0.2.7"}, func(c *x509.Certificate) {
		c.DNSNames = append(c.DNSNames, "node-1.example.com")
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pair.Leaf.DNSNames, pair.Leaf.IPAddresses, len(pair.TLS().Certificate))
	// Output: [node-1 node-1.example.com] [192.0.2.7] 1
}

func ExampleKind_Mint() {
	ca, err := testcerts.NewAuthority("cluster-ca")
	if err != nil {
		log.Fatal(err)
	}
	kind, err := testcerts.KindNamed("server-common-name-only")
	if err != nil {
		log.Fatal(err)
	}
	pair, err := kind.Mint(ca, testcerts.Request{CommonName: "node-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pair.Leaf.VerifyHostname("192.0.2.7"))
	fmt.Println(pair.Leaf.VerifyHostname("node-1"))
	// Output:
	// x509: cannot validate certificate for 192.0.2.7 because it doesn't contain any IP SANs
	// x509: certificate relies on legacy Common Name field, use SANs instead
}
