package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"fauxlet/conformance"
	"fauxlet/conformance/check"
	"fauxlet/conformance/probe"
	"fauxlet/internal/color"
	"fauxlet/internal/host"
	"fauxlet/internal/kubeconfig"
	"fauxlet/testcerts"
)

func newCheck() *cobra.Command {
	var k checkCommand
	c := &cobra.Command{Use: "check", Args: noArgsBut("kubeconfig"), RunE: func(c *cobra.Command, _ []string) error { return k.run(c) }}
	flags := c.Flags()
	flags.StringVar(&k.cluster.Path, "kubeconfig", "", "kubeconfig of a cluster admin (default: as for kubectl, "+
		"$KUBECONFIG, ~/.kube/config, or the pod's service account)")
	flags.StringVar(&k.cluster.Context, "context", "", "context of the kubeconfig (default: its current context)")
	flags.StringVar(&k.clientCA, "client-ca", "", "PEM file of the CAs that sign kube-apiserver's client certificate: "+
		"the kubelets' clientCAFile (default: the CAs that the cluster publishes)")
	flags.StringVar(&k.servingCA, "serving-ca-file", "", "CA that signs the kubelets' serving certificates; check "+
		"issues a certificate from it, which kube-apiserver should then accept")
	flags.StringVar(&k.servingCAKey, "serving-ca-key-file", "", "key of --serving-ca-file")
	flags.BoolVar(&k.approve, "approve-serving-certificate", false, "get the serving certificate of the check's "+
		"kubelets from the cluster (signer kubernetes.io/kubelet-serving) instead of issuing it: create, approve and "+
		"delete a CertificateSigningRequest")
	flags.StringSliceVar(&k.nodeIPs, "node-ip", nil, "address of this machine that the apiserver can reach (default: "+
		"the address from which this machine reaches the apiserver)")
	flags.StringVar(&k.hostname, "node-hostname", "", "name for --node-ip that the apiserver can resolve, for "+
		"clusters that dial nodes by name (default: localhost for a loopback address, otherwise none)")
	flags.StringSliceVar(&k.only, "only", nil,
		"run only checks with these ids or prefixes of ids, and the checks that they need; those of the group "+
			"approver run only if they are named here")
	flags.DurationVar(&k.wait, "approver-wait", check.DefaultApproverWait, "how long --only approver waits for "+
		"answers to its CertificateSigningRequests; must be less than --timeout")
	flags.BoolVar(&k.list, "list", false, "list the checks as a table or as JSON (--output), and exit")
	flags.StringVarP(&k.output, "output", "o", "table", "table, json or junit")
	flags.BoolVar(&k.strict, "strict", false, "treat a warning as a failure")
	flags.DurationVar(&k.timeout, "timeout", 2*time.Minute, "limit for the whole run; each check has at most a quarter of "+
		"it, or 30 s if that is more")
	completeFlag(c, "output", conformance.Formats()...)
	completeFlag(c, "only", check.Completions()...)
	return c
}

type checkCommand struct {
	cluster                           kubeconfig.Source
	clientCA, servingCA, servingCAKey string
	hostname, output                  string
	nodeIPs, only                     []string
	approve, strict, list             bool
	timeout, wait                     time.Duration
}

// These are the exit codes of check and probe, besides 0 for success.
const (
	exitFound      = 1 // a check failed, or the probe found something dangerous
	exitIncomplete = 2
)

func (k *checkCommand) run(c *cobra.Command) error {
	all := check.Checks()
	checks, err := check.Select(all, k.only)
	if err != nil {
		return usagef(c, "--only: %w; fauxlet check --list lists them", err)
	}
	if k.list {
		if len(k.only) == 0 {
			checks = all
		}
		if err := checkOneOf(c, "output", k.output, "table", "json"); err != nil {
			return fmt.Errorf("%w with --list", err)
		}
		return check.List(c.OutOrStdout(), checks, k.output)
	}
	if c.Flags().Changed("approver-wait") && !check.Selects(checks, "approver") {
		return usagef(c, "--approver-wait: has no effect without --only approver")
	}
	options, err := k.options(c)
	if err != nil {
		return err
	}
	options.Checks = checks
	// The checks break connections on purpose, and the streaming libraries would log each broken connection.
	klog.SetLogger(logr.Discard())
	progress, done := color.NewProgress(c.ErrOrStderr()), 0
	options.OnNotice = progress.Print
	options.OnResult = func(r conformance.Result) {
		done++
		progress.Show(fmt.Sprintf("%d of %d checks are done; the last is %s", done, len(checks), r.ID),
			fmt.Sprintf("%-7s  %s  %.1f s", r.Verdict, r.ID, time.Duration(r.Duration).Seconds()))
	}
	timeout := fmt.Errorf("--timeout: the run did not finish within %v", k.timeout)
	ctx, cancel := context.WithTimeoutCause(c.Context(), k.timeout, timeout)
	defer cancel()
	report, err := check.Run(ctx, *options)
	progress.Clear()
	if err != nil && errors.Is(context.Cause(ctx), timeout) && !errors.Is(err, timeout) {
		err = timeout // the time was up before the first check
	}
	if report != nil && len(report.Results) > 0 {
		if err := report.Write(c.OutOrStdout(), k.output); err != nil {
			return &exitError{err, exitIncomplete}
		}
	}
	switch {
	case err != nil:
		return &exitError{err, exitIncomplete}
	case report.Count(conformance.Fail) > 0 || k.strict && report.Count(conformance.Warn) > 0:
		return &exitError{errors.New(report.Summary()), exitFound}
	case report.Undecided() > 0:
		return &exitError{errors.New(report.Summary()), exitIncomplete}
	}
	return nil
}

func (k *checkCommand) options(c *cobra.Command) (*check.Options, error) {
	if err := checkOneOf(c, "output", k.output, conformance.Formats()...); err != nil {
		return nil, err
	}
	if k.timeout <= 0 {
		return nil, usagef(c, "--timeout: %v: must be more than 0", k.timeout)
	}
	if k.wait <= 0 {
		return nil, usagef(c, "--approver-wait: %v: must be more than 0", k.wait)
	}
	if (k.servingCA == "") != (k.servingCAKey == "") {
		return nil, usagef(c, "--serving-ca-file and --serving-ca-key-file: give both or neither")
	}
	o := &check.Options{ApproveServingCertificate: k.approve, ApproverWait: k.wait, NodeHostname: k.hostname,
		Tool: "fauxlet " + host.NewBuild(version).Version}
	for _, text := range k.nodeIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usagef(c, "--node-ip: %q is not an IP address", text)
		}
		o.NodeIPs = append(o.NodeIPs, ip)
	}
	if err := k.readFiles(o); err != nil {
		return nil, &exitError{err, exitIncomplete}
	}
	return o, nil
}

func (k *checkCommand) readFiles(o *check.Options) error {
	var err error
	if o.Cluster, o.ClusterOrigin, err = k.cluster.Client(host.UserAgent(version)); err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	if k.clientCA != "" {
		if o.ClientCA, err = probe.ReadPool(k.clientCA); err != nil {
			return fmt.Errorf("--client-ca: %w", err)
		}
	}
	if k.servingCA != "" {
		if o.ServingCA, err = testcerts.LoadAuthority(k.servingCA, k.servingCAKey); err != nil {
			return fmt.Errorf("--serving-ca-file: %w", err)
		}
	}
	return nil
}
