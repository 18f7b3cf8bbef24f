package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fauxlet/config"
	"fauxlet/internal/helptext"
)

// kubeletHeadings are the headings by which the help text groups the kubelet's flags.
var kubeletHeadings = []struct{ heading, flags string }{
	{"Kubelet flags: files and apiserver", `config config-dir kubeconfig bootstrap-kubeconfig cert-dir root-dir
		pod-manifest-path file-check-frequency feature-gates kube-api-burst
		kube-api-content-type kube-api-qps rotate-certificates v`},
	{"Kubelet flags: authentication and authorization", `anonymous-auth client-ca-file authentication-token-webhook
		authentication-token-webhook-cache-ttl authorization-mode authorization-webhook-cache-authorized-ttl
		authorization-webhook-cache-unauthorized-ttl`},
	{"Kubelet flags: listeners and TLS", `address port read-only-port healthz-bind-address healthz-port enable-server
		enable-debugging-handlers streaming-connection-idle-timeout tls-cert-file tls-private-key-file tls-cipher-suites
		tls-min-version rotate-server-certificates`},
	{"Kubelet flags: the node", ""},
}

// withFile returns a shorter error if err is an error in a configuration file: the error begins with a flag, and names
// the file once. The flag is the one that names the file, unless the file is a drop-in.
func withFile(flag string, err error) error {
	file, ok := errors.AsType[*config.FileError](err)
	if !ok {
		return err
	}
	if file.DropIn {
		flag = "--config-dir"
	}
	return fmt.Errorf("%s: %w", flag, file.Short())
}

// addKubeletFlags adds the kubelet's flags to a command. The help text lists the flags for which the function "shown"
// returns true. A kubelet marks a flag as deprecated if its configuration file has a field with the same meaning.
// addKubeletFlags removes these deprecation marks.
func addKubeletFlags(c *cobra.Command, kubelet *config.Flags, shown func(name string) bool) {
	flags := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	kubelet.AddTo(flags)
	flags.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = flag.Hidden || !shown(flag.Name) // flags that only older kubelets have stay hidden
		flag.Deprecated = ""
		flag.Usage, _, _ = strings.Cut(flag.Usage, " (DEPRECATED: ")
	})
	flags.Lookup("feature-gates").Usage = "Feature gates, as key=value pairs. All gates of a kubelet are accepted. " +
		"These have an effect: " + strings.Join(config.GatesWithEffect, ", ") + "."
	for _, g := range kubeletHeadings {
		helptext.UnderHeading(flags, g.heading, strings.Fields(g.flags)...)
	}
	kubelet.AddTo(c.Flags())
	c.Flags().BoolVar(&kubelet.Strict, "strict", false, "an unknown or repeated field in --config or --config-dir is "+
		"an error. Without --strict it is a warning, and the file is decoded leniently, as a kubelet does")
	helptext.UnderHeading(c.Flags(), kubeletHeadings[0].heading, "strict")
	addEmulateVersion(c, &kubelet.Version)
}

func addEmulateVersion(c *cobra.Command, v *config.Version) {
	c.Flags().Var(v, "emulate-version", "be a kubelet of this `version` of Kubernetes: 1.30 to 1.37, or with a patch "+
		"version, such as 1.31.5. \"fauxlet versions\" lists what differs")
	var names []string
	for _, v := range config.Versions() {
		names = append(names, v.String())
	}
	completeFlag(c, "emulate-version", names...)
}
