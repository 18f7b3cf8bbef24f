package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fauxlet/internal/admin"
	"fauxlet/internal/decisions"
	"fauxlet/internal/helptext"
	"fauxlet/internal/host"
)

// adminFlags are the flags of serve and demo that configure the admin listener.
type adminFlags struct {
	address, tokenFile string
	keepDecisions      int
	flags              *pflag.FlagSet // shows which flags the user gave
}

func (f *adminFlags) addTo(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.address, "admin-address", host.DefaultAdminAddress, "host and port of the admin listener. A "+
		"browser, \"fauxlet watch\" and \"fauxlet fault\" connect to it to show decisions and to set faults. Port 0 "+
		"takes a free port. An empty value turns the listener off. If the flag is not given and the default port is "+
		"in use, fauxlet prints a warning and runs without this listener")
	flags.StringVar(&f.tokenFile, "admin-token-file", "", "file with the bearer token that clients of "+
		"--admin-address must send; required if that is not a loopback address. If the flag is not given, fauxlet makes "+
		"a token, prints a link with it if standard output is a terminal, and stores it in a file in the user's cache "+
		"folder, where \"fauxlet watch\" and \"fauxlet fault\" of the same user find it. With an empty value no token is "+
		"required, so that every user of this machine can use the listener")
	flags.IntVar(&f.keepDecisions, "keep-decisions", decisions.DefaultSize, "number of decisions to keep, over all "+
		"nodes; each takes at most 16 KiB of memory")
	helptext.UnderHeading(flags, "Admin listener", "admin-address", "admin-token-file", "keep-decisions")
	f.flags = flags
}

func (f *adminFlags) options() (host.Admin, error) {
	o := host.Admin{Address: f.address, Optional: !f.flags.Changed("admin-address"),
		MakeToken: !f.flags.Changed("admin-token-file"), KeepDecisions: f.keepDecisions}
	if f.keepDecisions == 0 {
		return o, fmt.Errorf("--keep-decisions: 0: must be from 1 to %d; to keep none, turn the admin listener off "+
			"with --admin-address=''", host.MaxDecisions)
	}
	if f.tokenFile != "" {
		var err error
		if o.Token, err = admin.ReadToken(f.tokenFile); err != nil {
			return o, fmt.Errorf("--admin-token-file: %w", err)
		}
	}
	return o, nil
}

// addTokenHint adds the name of the token flag to an error about a token that is required or too short.
func addTokenHint(err error) error {
	if errors.Is(err, admin.ErrNoToken) {
		return fmt.Errorf("%w; give a file with a token in --admin-token-file", err)
	}
	return err
}
