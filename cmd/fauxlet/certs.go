package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"fauxlet/testcerts"
)

func newCerts() *cobra.Command {
	var m minting
	c := &cobra.Command{
		Use:   "certs KIND NAME",
		Short: "Mint a CA, and serving and client certificates, good ones and each broken kind",
		Long: text(`
			certs writes DIR/NAME.crt and DIR/NAME.key, signed by the CA in DIR/ca.crt and DIR/ca.key, which it makes if it
			is not there. NAME is the common name too, unless --cn gives another. Files that are there are never written
			over. The kinds, and what becomes of each between a kube-apiserver and a kubelet:

		`) + "\n\n" + kindsTable(),
		Example: example(`
			# A CA, a serving certificate for a node, and kube-apiserver's client certificate.
			fauxlet certs server node-1 --dir pki --host node-1 --host 192.0.2.7
			fauxlet certs client kubelet-client --dir pki

			# What fails, and how.
			fauxlet certs client-expired late --dir pki
			fauxlet certs server-common-name-only node-2 --dir pki --host node-2

			# The CA alone.
			fauxlet certs ca --dir pki`),
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && args[0] == "ca", len(args) == 2:
				return nil
			case len(args) == 0:
				return usagef(c, "which KIND of certificate, and its NAME?")
			case len(args) == 1:
				return usagef(c, "a certificate of kind %q needs a NAME", args[0])
			}
			return usagef(c, "unexpected argument %q", args[2])
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names := []string{"ca\ta CA alone"}
			for _, k := range testcerts.Kinds() {
				names = append(names, k.Name+"\t"+k.Explains)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error { return m.run(c, args) },
	}
	flags := c.Flags()
	flags.StringVar(&m.dir, "dir", "pki", "folder of the CA and of what it signs")
	flags.StringVar(&m.request.CommonName, "cn", "", "common name: the user, in a client certificate (NAME, if it is empty)")
	flags.StringArrayVar(&m.request.Organizations, "org", nil, "organization: a group, in a client certificate; may be repeated")
	flags.StringArrayVar(&m.request.Hosts, "host", nil, "DNS name or IP address of a serving certificate; may be repeated")
	flags.DurationVar(&m.request.Life, "life", 365*24*time.Hour, "how long it is good for; the kinds that are wrong about dates take no notice")
	flags.BoolVar(&m.request.RSA, "rsa", false, "an RSA key of 2048 bits rather than ECDSA on P-256")
	flags.StringVar(&m.caName, "ca-cn", "fauxlet-ca", "common name of the CA, if it has to be made")
	return c
}

// minting is the command line of certs.
type minting struct {
	dir, caName string
	request     testcerts.Request
}

func (m *minting) run(c *cobra.Command, args []string) error {
	if m.request.Life <= 0 {
		return usagef(c, "--life: %v: must be more than 0", m.request.Life)
	}
	var kind testcerts.Kind
	if args[0] != "ca" {
		var err error
		if kind, err = testcerts.KindNamed(args[0]); err != nil {
			return usagef(c, "%w", err)
		}
		if args[1] == "ca" || args[1] != filepath.Base(args[1]) {
			return usagef(c, "NAME %q: it is the name of two files in --dir, and not of the CA's", args[1])
		}
		if kind.NeedsHosts && len(m.request.Hosts) == 0 {
			return usagef(c, "--host: missing: a serving certificate needs the DNS names or IP addresses that it is for")
		}
	}
	folder, err := testcerts.OpenFolder(m.dir)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	ca, err := folder.Authority("ca", m.caName)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	name := "ca"
	if args[0] != "ca" {
		name = args[1]
		if m.request.CommonName == "" {
			m.request.CommonName = name
		}
		made := false
		if _, err := folder.Pair(name, func() (*testcerts.Pair, error) { made = true; return kind.Mint(ca, m.request) }); err != nil {
			return err
		}
		if certFile, _ := folder.Files(name); !made {
			return fmt.Errorf("%s is there already, and is kept; take another NAME, or remove it and its key", certFile)
		}
	}
	certFile, keyFile := folder.Files(name)
	fmt.Fprintf(c.OutOrStdout(), "%s\n%s\n", certFile, keyFile)
	return nil
}

func kindsTable() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, k := range testcerts.Kinds() {
		fmt.Fprintf(w, "  %s\t%s\n", k.Name, k.Explains)
	}
	w.Flush()
	return strings.TrimRight(b.String(), "\n")
}
