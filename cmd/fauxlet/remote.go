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
)

// remoteFlags say which running stand-in is meant: where it shows its trace.
type remoteFlags struct{ address, tokenFile string }

func (r *remoteFlags) addTo(c *cobra.Command) {
	flags := c.PersistentFlags()
	flags.StringVar(&r.address, "address", adminAddress, "where the stand-in shows its decisions: its --admin-address, which its log tells, and its --ready-file as admin")
	flags.StringVar(&r.tokenFile, "token-file", "", "file of the token that it wants: its --admin-token-file")
}

// client is for asking it. The caller should call Close when finished.
func (r *remoteFlags) client(c *cobra.Command) (*admin.Client, error) {
	address := strings.TrimSuffix(strings.TrimPrefix(r.address, "http://"), "/")
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" || strings.ContainsAny(address, "/?#@ ") {
		return nil, usagef(c, "--address: %q is not a host and a port, as in %s", r.address, adminAddress)
	}
	token, err := readToken(r.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	r.address = address
	return admin.NewClient(address, token), nil
}

// explain adds to an error of a client what to do about it.
func (r *remoteFlags) explain(err error) error {
	var denied *admin.StatusError
	switch {
	case errors.As(err, &denied) && denied.Status == http.StatusUnauthorized && r.tokenFile == "":
		return errors.New("--token-file: the stand-in wants a token: give the file that is its --admin-token-file")
	case errors.As(err, &denied) && denied.Status == http.StatusUnauthorized:
		return fmt.Errorf("--token-file: %s is not the token that the stand-in wants, which is that of its --admin-token-file", r.tokenFile)
	case denied != nil:
		return denied
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("--address: nobody listens on %s: start fauxlet serve or fauxlet demo, or say where one shows its decisions, which its log tells", r.address)
	}
	return fmt.Errorf("--address: %s: %w", r.address, err)
}
