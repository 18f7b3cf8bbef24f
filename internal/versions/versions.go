// Package versions describes what differs between the kubelets of the Kubernetes versions that fauxlet emulates.
package versions

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/config"
	"fauxlet/internal/color"
)

// Changes lists what changes from one version to a newer one.
type Changes struct {
	From    string          `json:"from"` // a version with its patch version, such as 1.33.13
	To      string          `json:"to"`
	Changes []config.Change `json:"changes"`
}

// Between returns the changes between two versions. It is an error if the first version is newer than the second.
func Between(from, to config.Version) (*Changes, error) {
	all := config.Changes(from, to)
	if len(all) == 0 && len(config.Changes(to, from)) > 0 {
		return nil, fmt.Errorf("version %s is newer than %s; give the older version first", from, to)
	}
	return &Changes{from.GitVersion()[1:], to.GitVersion()[1:], append([]config.Change{}, all...)}, nil
}

// Write writes the changes as text, one version after the other, wrapped at the given width.
func (c *Changes) Write(w io.Writer, width int) {
	if len(c.Changes) == 0 {
		fmt.Fprintf(w, "Fauxlet knows no difference between %s and %s.\n", c.From, c.To)
		return
	}
	fmt.Fprintf(w, "What changes for clients of the kubelet from Kubernetes %s to %s:\n", c.From, c.To)
	since, subject := "", ""
	for _, change := range c.Changes {
		if change.Since != since {
			since, subject = change.Since, ""
			fmt.Fprintf(w, "\nsince %s\n", since)
		}
		if change.Subject != subject {
			subject = change.Subject
			fmt.Fprintf(w, "  %s\n", subject)
		}
		text := change.What
		if len(change.Backports) > 0 {
			text += " The patch versions " + strings.Join(change.Backports, ", ") + " have this, too."
		}
		const indent = "      "
		for i, line := range color.Wrap(text, width-len(indent)) {
			fmt.Fprintf(w, "%s%s\n", map[bool]string{true: "    - ", false: indent}[i == 0], line)
		}
	}
}
