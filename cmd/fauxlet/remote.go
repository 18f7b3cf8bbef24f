package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"fauxlet/internal/admin"
	"fauxlet/internal/helptext"
	"fauxlet/internal/host"
)

// remoteFlags select a running stand-in kubelet by the address of its admin listener.
type remoteFlags struct{ address, tokenFile string }

func (r *remoteFlags) addTo(c *cobra.Command) {
	flags := c.PersistentFlags()
	flags.StringVar(&r.address, "address", host.DefaultAdminAddress, "address of the stand-in's admin listener, as "+
		"set by --admin-address; the stand-in writes the address to its log and to its --ready-file")
	flags.StringVar(&r.tokenFile, "token-file", "", "file with the token of the admin listener, the stand-in's "+
		"--admin-token-file (default: the file in the user's cache folder in which a stand-in of this user stores the "+
		"token that it has made)")
	helptext.UnderHeading(flags, "Connection", "address", "token-file")
}

// client returns a client for the admin API. The caller closes the client.
func (r *remoteFlags) client(c *cobra.Command) (*admin.Client, error) {
	address := strings.TrimSuffix(strings.TrimPrefix(r.address, "http://"), "/")
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" || strings.ContainsAny(address, "/?#@ ") {
		return nil, usagef(c, "--address: %q is not a host and a port, as in %s", r.address,
			host.DefaultAdminAddress)
	}
	r.address = address
	if r.tokenFile == "" {
		return admin.NewLocalClient(address), nil
	}
	token, err := admin.ReadToken(r.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	return admin.NewClient(address, token), nil
}

// addRemedy explains an error from the client of the admin API: its result names the flag that is wrong, and a remedy.
func (r *remoteFlags) addRemedy(err error) error {
	var refused *admin.StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && r.tokenFile == "":
		return errors.New("--token-file: the stand-in requires a token, and this user has none that is valid for " +
			"--address " + r.address + "; give the file that was given to the stand-in with --admin-token-file, or " +
			"run this command as the user of the stand-in, with the IP address in its log")
	case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
		return fmt.Errorf("--token-file: the token in %s is wrong; give the file that was given to the stand-in with "+
			"--admin-token-file", r.tokenFile)
	case refused != nil:
		return refused
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("--address: nothing listens on %s: start fauxlet serve or fauxlet demo, or give the admin "+
			"address from its log", r.address)
	}
	return fmt.Errorf("--address: %s: %w", r.address, err)
}
