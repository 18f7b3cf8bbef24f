package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"fauxlet/testcerts"
)

// clusterAccess holds the flags of the commands that put stand-in kubelets into a cluster for a short time.
type clusterAccess struct {
	kubeconfig, clientCA, servingCA, servingCAKey string
	approve                                       bool
}

func (a *clusterAccess) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&a.kubeconfig, "kubeconfig", "", "of an admin of the cluster; its current context is used")
	flags.StringVar(&a.clientCA, "client-ca", "", "file of the CAs by which the nodes know kube-apiserver: the kubelets' clientCAFile")
	flags.StringVar(&a.servingCA, "serving-ca-file", "", "CA that signs the kubelets' serving certificates, to make one that the apiserver is to accept")
	flags.StringVar(&a.servingCAKey, "serving-ca-key-file", "", "its key")
	flags.BoolVar(&a.approve, "approve-serving-certificate", false, "have the cluster's signer kubernetes.io/kubelet-serving issue that one: a CertificateSigningRequest is made, approved and deleted")
}

// valid says whether flags go together.
func (a *clusterAccess) valid(c *cobra.Command) error {
	if (a.servingCA == "") != (a.servingCAKey == "") {
		return usagef(c, "--serving-ca-file and --serving-ca-key-file: both, or neither")
	}
	return nil
}

// cluster is the way to the apiserver.
func (a *clusterAccess) cluster() (*rest.Config, error) { return clusterOf(a.kubeconfig) }

func clusterOf(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	config.UserAgent = "fauxlet/" + buildVersion()
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

// servingAuthority is the CA that signs the kubelets' serving certificates; nil where none is given.
func (a *clusterAccess) servingAuthority() (*testcerts.Authority, error) {
	if a.servingCA == "" {
		return nil, nil
	}
	ca, err := testcerts.LoadAuthority(a.servingCA, a.servingCAKey)
	if err != nil {
		return nil, fmt.Errorf("--serving-ca-file: %w", err)
	}
	return ca, nil
}
