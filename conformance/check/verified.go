package check

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/ptr"

	"fauxlet/conformance"
	"fauxlet/conformance/stage"
	"fauxlet/testcerts"
)

const servingAuthority = "--kubelet-certificate-authority"

func servingChecks() []Check {
	return []Check{
		{
			ID: "serving.accepted", Title: "a good serving certificate is accepted", Flag: servingAuthority,
			Proves: "kube-apiserver talks to a kubelet whose serving certificate is by the CA that signs those of the nodes: one of `--serving-ca-file`, or issued by the cluster's own signer.",
			Needs:  []string{"reach.dialled"},
			run:    checkAccepted,
		},
		{
			ID: "serving.verified", Title: "bad serving certificates are refused", Flag: servingAuthority,
			Proves: "kube-apiserver refuses a kubelet whose serving certificate is self-signed, the kubelet's own default, or of another CA, and (with `--serving-ca-file`) one that is expired, not yet valid, for another host, with a common name alone, for clients alone, or signed with SHA-1.",
			Needs:  []string{"reach.dialled"},
			run:    checkVerified,
		},
	}
}

func checkAccepted(ctx context.Context, r *run) (conformance.Result, error) {
	if _, err := r.shaken(); err != nil {
		return conformance.Result{}, err
	}
	good, err := r.good()
	if errors.Is(err, stage.ErrNotIssued) {
		result := fail(err.Error()+": kubelets with serverTLSBootstrap get none either",
			"--cluster-signing-cert-file=ca.crt --cluster-signing-key-file=ca.key # kube-controller-manager's", "asked for by a CertificateSigningRequest to kubernetes.io/kubelet-serving, and approved")
		result.Flag = "--cluster-signing-cert-file"
		return result, nil
	}
	if err != nil {
		return conformance.Result{}, err
	}
	leaf, err := leafOf(good)
	if err != nil {
		return conformance.Result{}, err
	}
	tried, err := r.try(ctx, "good", good)
	if err != nil {
		return conformance.Result{}, err
	}
	presented := fmt.Sprintf("presented: %s, for %s", describe(leaf), strings.Join(r.hosts(), ", "))
	if !tried.accepted {
		return fail("kube-apiserver refuses a serving certificate by the CA that signs those of the nodes",
			fmt.Sprintf("%s=ca.crt # a file with the CA %s", servingAuthority, quote(leaf.Issuer.String())), presented, "answered: "+tried.said), nil
	}
	return pass(presented, "answered: "+tried.said), nil
}

// signedByNobody are the kinds of serving certificates for whose refusal it does not matter whom kube-apiserver trusts.
var signedByNobody = map[string]bool{"server-self-signed": true, "server-kubelet-default": true, "server-unknown-ca": true}

// bad are the kinds of serving certificates that must be refused, of those that can be made: what is wrong with the others
// shows only where all else is right.
func (r *run) bad() (kinds []testcerts.Kind, not []string) {
	for _, kind := range testcerts.Kinds() {
		switch {
		case !kind.Serving, kind.Name == "server", kind.Name == "server-intermediate":
		case r.options.ServingCA == nil && !signedByNobody[kind.Name]:
			not = append(not, kind.Name)
		default:
			kinds = append(kinds, kind)
		}
	}
	return kinds, not
}

func checkVerified(ctx context.Context, r *run) (conformance.Result, error) {
	if _, err := r.shaken(); err != nil {
		return conformance.Result{}, err
	}
	kinds, not := r.bad()
	trials := make([]trial, len(kinds))
	ca := r.options.ServingCA
	if ca == nil {
		var err error
		if ca, err = testcerts.NewAuthority("nobody"); err != nil {
			return conformance.Result{}, err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(together)
	for i, kind := range kinds {
		group.Go(func() error {
			pair, err := kind.Mint(ca, testcerts.Request{CommonName: r.nodeIP.String(), Hosts: r.hosts(), Life: stage.ServingCertificateLifetime})
			if err != nil {
				return err
			}
			trials[i], err = r.try(ctx, kind.Name, ptr.To(pair.TLS()))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return conformance.Result{}, err
	}
	var evidence, accepted []string
	for i, kind := range kinds {
		if trials[i].accepted {
			accepted = append(accepted, strings.TrimPrefix(kind.Name, "server-"))
			evidence = append(evidence, "accepted: "+kind.Name)
		} else {
			evidence = append(evidence, "refused: "+kind.Name+": "+trials[i].said)
		}
	}
	if not != nil {
		evidence = append(evidence, "not offered, because they need --serving-ca-file and --serving-ca-key-file: "+strings.Join(not, ", "))
	}
	switch len(accepted) {
	case 0:
		return pass(evidence...), nil
	case len(kinds):
		return warn("insecure: kube-apiserver verifies no serving certificate; whoever can answer in the place of a node (by its address, by DNS, ARP or BGP, or by changing its Node) reads and changes all that kubectl logs, exec, cp and port-forward send and get",
			servingAuthority+"=ca.crt # a file with the CA that signs the kubelets' serving certificates; kubelets get one by serverTLSBootstrap: true", evidence...), nil
	}
	return fail("kube-apiserver verifies serving certificates, and accepts some that are bad: "+strings.Join(accepted, ", "),
		servingAuthority+"=ca.crt # a file with the CA of the nodes alone, for a kube-apiserver that verifies as v1.37 does", evidence...), nil
}
