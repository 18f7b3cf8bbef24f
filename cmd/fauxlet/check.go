package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"fauxlet/conformance"
	"fauxlet/conformance/check"
)

func newCheck() *cobra.Command {
	var k checking
	c := &cobra.Command{
		Use:   "check",
		Short: "Find out why kubectl logs fails: check a kube-apiserver's way to the kubelets",
		Long: text(`
			check registers short-lived nodes in a cluster, listens in the place of their kubelets on this machine, has the
			apiserver connect by what it is asked for (logs, exec, port-forward, nodes/proxy), and looks at both ends. It
			tells which of kube-apiserver's kubelet flags are right, which are missing, what is not safe though it works, and
			what to change. Everything that it made is removed, at the end and after Ctrl-C; what a run that was killed left
			behind, the next one removes.

			The nodes are cordoned and tainted, and nothing but the pods of the check is bound to them. No other object of
			the cluster is changed.

			Exit codes: 0, all checks passed; 1, a check failed (with --strict, or warned); 2, nothing or not all could be
			checked.`),
		Example: example(`
			fauxlet check --kubeconfig admin.conf

			# From a machine that the apiserver reaches by another address; with the CA that the nodes trust.
			fauxlet check --kubeconfig admin.conf --node-ip 192.0.2.7 --client-ca /etc/kubernetes/pki/ca.crt

			# Have a serving certificate issued by the cluster, as kubelets with serverTLSBootstrap have.
			fauxlet check --kubeconfig admin.conf --approve-serving-certificate

			# In CI.
			fauxlet check --kubeconfig admin.conf --output junit --strict > check.xml

			# What there is to check.
			fauxlet check --list`),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return k.run(c) },
	}
	flags := c.Flags()
	k.clusterAccess.addTo(flags)
	flags.StringSliceVar(&k.nodeIPs, "node-ip", nil, "an address of this machine that the apiserver can reach (default: the one from which this machine reaches the apiserver)")
	flags.StringVar(&k.hostname, "node-hostname", "", "a name of --node-ip that the apiserver can look up, where nodes are dialled by name (default: localhost for a loopback address, otherwise none)")
	flags.StringVarP(&k.output, "output", "o", "table", "table, json or junit")
	flags.StringSliceVar(&k.only, "only", nil, "run these checks alone, by their ids or what those begin with, and those that they need")
	flags.DurationVar(&k.timeout, "timeout", 2*time.Minute, "how long all may take")
	flags.BoolVar(&k.strict, "strict", false, "a warning is a failure")
	flags.BoolVar(&k.list, "list", false, "list the checks, and do nothing")
	completeFlag(c, "output", conformance.Formats()...)
	var ids []string
	for _, one := range check.Checks() {
		ids = append(ids, one.ID+"\t"+one.Title)
	}
	completeFlag(c, "only", ids...)
	return c
}

// checking is the command line of check.
type checking struct {
	clusterAccess
	hostname, output string
	nodeIPs, only    []string
	strict, list     bool
	timeout          time.Duration
}

func (k *checking) run(c *cobra.Command) error {
	all := check.Checks()
	checks, err := check.Select(all, k.only)
	if err != nil {
		return usagef(c, "--only: %w; fauxlet check --list lists them", err)
	}
	if k.list {
		return listChecks(c.OutOrStdout(), checks)
	}
	options, err := k.options(c)
	if err != nil {
		return err
	}
	options.Checks = checks
	// What the libraries of streams have to say of connections that break is what checks look at themselves.
	klog.SetLogger(logr.Discard())
	progress := c.ErrOrStderr()
	options.OnNotice = func(text string) { fmt.Fprintln(progress, text) }
	options.OnResult = func(r conformance.Result) {
		fmt.Fprintf(progress, "%-7s  %s  %.1f s\n", r.Verdict, r.ID, time.Duration(r.Duration).Seconds())
	}
	ctx, cancel := context.WithTimeoutCause(c.Context(), k.timeout, fmt.Errorf("--timeout: %v are over", k.timeout))
	defer cancel()
	report, err := check.Run(ctx, *options)
	if report != nil && len(report.Results) > 0 {
		if err := report.Write(c.OutOrStdout(), k.output); err != nil {
			return &exitError{err, 2}
		}
	}
	switch {
	case err != nil:
		return &exitError{err, 2}
	case report.Count(conformance.Fail) > 0 || k.strict && report.Count(conformance.Warn) > 0:
		return &exitError{errors.New(report.Summary()), 1}
	case report.Incomplete() > 0:
		return &exitError{errors.New(report.Summary()), 2}
	}
	return nil
}

// options are what the flags say.
func (k *checking) options(c *cobra.Command) (*check.Options, error) {
	if k.kubeconfig == "" {
		return nil, usagef(c, "--kubeconfig: there must be one, of an admin of the cluster")
	}
	known := false
	for _, format := range conformance.Formats() {
		known = known || format == k.output
	}
	if !known {
		return nil, usagef(c, "--output: %q is none of %s", k.output, strings.Join(conformance.Formats(), ", "))
	}
	if k.timeout <= 0 {
		return nil, usagef(c, "--timeout: %v: must be more than 0", k.timeout)
	}
	if err := k.clusterAccess.valid(c); err != nil {
		return nil, err
	}
	o := &check.Options{ApproveServingCertificate: k.approve, NodeHostname: k.hostname, Tool: "fauxlet " + buildVersion()}
	for _, text := range k.nodeIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usagef(c, "--node-ip: %q is not an IP address", text)
		}
		o.NodeIPs = append(o.NodeIPs, ip)
	}
	cannot := func(err error) error { return &exitError{err, 2} }
	var err error
	if o.Cluster, err = k.cluster(); err != nil {
		return nil, cannot(err)
	}
	if k.clientCA != "" {
		data, err := os.ReadFile(k.clientCA)
		if err != nil {
			return nil, cannot(fmt.Errorf("--client-ca: %w", err))
		}
		o.ClientCA = x509.NewCertPool()
		if !o.ClientCA.AppendCertsFromPEM(data) {
			return nil, cannot(fmt.Errorf("--client-ca: %s: no certificate is in it; it is a PEM file", k.clientCA))
		}
	}
	if o.ServingCA, err = k.servingAuthority(); err != nil {
		return nil, cannot(err)
	}
	return o, nil
}

func listChecks(w io.Writer, checks []check.Check) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, one := range checks {
		fmt.Fprintf(table, "%s\t%s\t%s\n", one.ID, one.Title, one.Flag)
	}
	return table.Flush()
}
