package symptoms

import "slices"

// Proof names the test that reproduces an error.
type Proof string

const (
	// ofGo: a client and a server with Go's net and crypto/tls, as in kube-apiserver, kubelets and scrapers.
	ofGo Proof = "internal/symptoms TestErrorsOfGo"
	// ofKubelets: the response or the log of a stand-in kubelet.
	ofKubelets Proof = "internal/symptoms TestErrorsOfKubelets"
	// ofKubectl: kubectl and kube-apiserver with a stand-in kubelet.
	ofKubectl Proof = "e2e/cluster TestKubectlErrorsAreRecognized"
	// ofFaults: the same with an injected fault; docs/faults.md contains the errors.
	ofFaults Proof = "e2e/cluster TestKubectlErrorsOfFaults"
)

// Commands for several errors.
const (
	showNode = "kubectl get node NODE " +
		"-o jsonpath='{.status.addresses}{\"\\n\"}{.status.daemonEndpoints}{\"\\n\"}'"
	showServing = "openssl s_client -connect {address} -showcerts </dev/null 2>/dev/null | " +
		"openssl x509 -noout -subject -issuer -dates -ext subjectAltName"
	checkReach   = "fauxlet check --kubeconfig admin.conf --only reach"
	checkClient  = "fauxlet check --kubeconfig admin.conf --client-ca ca.crt --only client,rights"
	checkServing = "fauxlet check --kubeconfig admin.conf " +
		"--serving-ca-file ca.crt --serving-ca-key-file ca.key --only serving"
	probe = "fauxlet probe https://{address}"
)

// Parts of several patterns.
const (
	address = `(?P<address>\[?[\w.:%-]+?\]?:\d+)`
	// attributes is part of the kubelet's 403 and 500. Before v1.33 it was subresource=proxy, without the list.
	attributes = `, verb=(?P<verb>\w*), resource=(?P<resource>\w+), ` +
		`subresource(?:\(s\))?=\[?(?P<subresource>\w+)[\w ]*\]?\)`
)

// table contains all symptoms. A specific symptom comes before a general one that would match a part of its text.
var table = slices.Concat(
	kubectlErrors, networkErrors, credentialErrors, servingErrors, handshakeErrors, authenticationErrors,
	authorizationErrors,
	handlerErrors,
)
