package demo

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"fauxlet/internal/color"
	"fauxlet/internal/host"
)

// printFirstScreen sends the requests of the first screen, and prints them with their results. It prints everything in
// one write, so that no log line comes between.
func printFirstScreen(ctx context.Context, s *sender, open host.Addresses, out io.Writer, style color.Style) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nA stand-in kubelet is running as node %q on %s. It has just answered these requests.\n",
		nodeName, cmp.Or(open.Secure, open.ReadOnly))
	b.WriteString("Paste a curl line into another terminal to send the request again.\n")
	number := 0
	for _, r := range script().FirstScreen {
		address := r.address(open)
		if address == "" {
			continue
		}
		got, err := s.send(ctx, &r, address, responseTimeout)
		if err != nil {
			return err
		}
		number++
		curl := style.Paint(color.Bold, s.folder.curl(&r, address))
		fmt.Fprintf(&b, "\n# %d. %s\n# -> %s\n%s\n", number, r.About, got.summary(style), curl)
	}
	b.WriteString(whereToLook(open, color.IsTerminal(out)))
	fmt.Fprintf(&b, "The files are in %s: kubelet.yaml (edit it and start again), rbac.yaml and tokens.csv\n"+
		"(edits apply at once), scenario.yaml, kubeconfig, pki/.\n\nStop with Ctrl-C.\n\n", s.folder.dir)
	_, err := io.WriteString(out, b.String())
	return err
}

// summary returns the status of the response and the kubelet's reason for it. If there was no response, it returns the
// client's error.
func (r *response) summary(style color.Style) string {
	if r.err != nil {
		return style.Paint(color.Red, "no response") + ": " + color.Printable(r.err.Error())
	}
	c := color.Green
	if r.status >= http.StatusBadRequest {
		c = color.Red
	}
	return style.Paint(c, fmt.Sprint(r.status)) + ", " + color.Printable(r.reason())
}

// reason returns the kubelet's reason for the response, and mentions if the reason comes from a cache.
func (r *response) reason() string {
	reason := cmp.Or(r.decision.Why(), "no authentication (read-only port)")
	if r.decision.Cached() {
		reason += " (from the cache: no review was sent)"
	}
	return reason
}

// noAdmin is printed in place of the URL of the admin page if there is no admin listener.
const noAdmin = "There is no admin page: --admin-address 127.0.0.1:0 opens one on a free port.\n"

// whereToLook returns a text for the user that names the two places where the kubelet's decisions are shown: the admin
// page in a browser, and the command "fauxlet watch" in a terminal. The argument "terminal" reports whether the text is
// printed on a terminal.
func whereToLook(open host.Addresses, terminal bool) string {
	if open.Admin == "" {
		return "\n" + noAdmin
	}
	watch := "fauxlet watch --verbose"
	if open.Admin != host.DefaultAdminAddress {
		watch += " --address " + open.Admin
	}
	return fmt.Sprintf("\nEvery decision step by step, and what changes it: %s, or %s.\n", inBrowser(open, terminal),
		watch)
}

// inBrowser describes how to open the admin page. Only on a terminal it contains the token: other output may be stored
// in a file or a log that other users can read.
func inBrowser(open host.Addresses, terminal bool) string {
	switch page := "http://" + open.Admin + "/ in a browser"; {
	case terminal:
		return open.AdminLink + " in a browser"
	case open.AdminTokenFile != "":
		return page + " (it asks for the token in " + open.AdminTokenFile + ")"
	default:
		return page
	}
}
