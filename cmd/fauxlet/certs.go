package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"fauxlet/testcerts"
)

func newCerts() *cobra.Command {
	var m certsCommand
	kinds := []string{"ca\tonly the CA; takes no NAME"}
	for _, k := range testcerts.Kinds() {
		kinds = append(kinds, k.Name+"\t"+k.Explains)
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  "+strings.Join(kinds, "\n  "))
	w.Flush()
	c := &cobra.Command{
		Use:  "certs KIND NAME | ca",
		Long: strings.TrimRight(table.String(), "\n"),
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usagef(c, "KIND and NAME are required")
			case len(args) == 1 && args[0] != "ca":
				return usagef(c, "a certificate of kind %q needs a NAME", args[0])
			}
			return noArgs(c, args[min(len(args), 2):])
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return kinds, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error { return m.run(c, args) },
	}
	flags := c.Flags()
	flags.StringVar(&m.dir, "dir", "pki", "folder of the CA and of the certificates")
	flags.StringVar(&m.request.CommonName, "cn", "", "user in a client certificate, or node in a serving certificate "+
		"(default: NAME)")
	flags.StringArrayVar(&m.request.Organizations, "org", nil,
		"organization, a group in a client certificate; may be repeated")
	flags.StringArrayVar(&m.request.Hosts, "host", nil,
		"DNS name or IP address for which a serving certificate is valid; may be repeated")
	flags.DurationVar(&m.request.Life, "life", 365*24*time.Hour, "validity; kinds with wrong dates ignore it")
	flags.BoolVar(&m.request.RSA, "rsa", false, "use an RSA key of 2048 bits instead of ECDSA on P-256")
	flags.StringVar(&m.caName, "ca-cn", "fauxlet-ca", "common name of the CA, if it does not exist yet")
	return c
}

type certsCommand struct {
	dir, caName string
	request     testcerts.Request
}

func (m *certsCommand) run(c *cobra.Command, args []string) error {
	if m.request.Life <= 0 {
		return usagef(c, "--life: %v: must be more than 0", m.request.Life)
	}
	var kind testcerts.Kind
	name := "ca"
	if args[0] != "ca" {
		name = args[1]
		var err error
		if kind, err = testcerts.KindNamed(args[0]); err != nil {
			return usagef(c, "%w", err)
		}
		if name == "ca" || name != filepath.Base(name) {
			return usagef(c, "NAME %q: must be a file name in --dir, other than ca", name)
		}
		if kind.NeedsHosts && len(m.request.Hosts) == 0 {
			return usagef(c, "--host: required: a serving certificate needs DNS names or IP addresses")
		}
		m.request.CommonName = cmp.Or(m.request.CommonName, name)
	}
	folder, err := testcerts.OpenFolder(m.dir)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	ca, err := folder.Authority("ca", m.caName)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	certFile, keyFile := folder.Files(name)
	if args[0] != "ca" {
		made := false
		issue := func() (*testcerts.Pair, error) { made = true; return kind.Mint(ca, m.request) }
		if _, err := folder.Pair(name, issue); err != nil {
			return err
		}
		if !made {
			return fmt.Errorf("%s already exists and was not changed; use another NAME, or remove the file "+
				"and its key", certFile)
		}
	}
	fmt.Fprintf(c.OutOrStdout(), "%s\n%s\n", certFile, keyFile)
	return nil
}
