// Package helptext writes the help of commands: description, examples, usage, subcommands, flags below headings, and
// exit codes.
package helptext

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"fauxlet/internal/color"
)

// ExitCodesKey is the annotation of a command that contains the text about its exit codes.
const ExitCodesKey = "exit codes"

// Write writes the help of a command: description, examples, usage, subcommands, flags grouped by heading, and exit
// codes. It wraps the description and the texts of the flags at the given width. Other lines may be longer.
func Write(w io.Writer, c *cobra.Command, width int) {
	for i, paragraph := range strings.Split(cmp.Or(c.Long, c.Short), "\n\n") {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if !strings.Contains("\n"+paragraph, "\n ") { // an indented line belongs to a table
			paragraph = strings.Join(color.Wrap(paragraph, width), "\n")
		}
		fmt.Fprintln(w, paragraph)
	}
	if c.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	usage := c.UseLine()
	if c.HasAvailableSubCommands() {
		usage = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(w, "\nUsage:\n  %s\n", usage)
	for i, sub := range c.Commands() {
		if i == 0 {
			fmt.Fprintf(w, "\nCommands:\n")
		}
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			fmt.Fprintf(w, "  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
		}
	}
	for _, g := range flagGroups(c) {
		fmt.Fprintf(w, "\n%s:\n", g.heading)
		for _, flag := range g.flags {
			writeFlag(w, flag, width)
		}
	}
	if codes := c.Annotations[ExitCodesKey]; codes != "" {
		fmt.Fprintf(w, "\nExit codes:\n%s\n", codes)
	}
}

func writeFlag(w io.Writer, flag *pflag.Flag, width int) {
	kind, usage := pflag.UnquoteUsage(flag)
	name := "    --" + flag.Name
	if flag.Shorthand != "" {
		name = "-" + flag.Shorthand + ", --" + flag.Name
	}
	fmt.Fprintf(w, "  %s\n", strings.TrimRight(name+" "+kind+defaultOf(flag), " "))
	for paragraph := range strings.Lines(usage) {
		for _, line := range color.Wrap(paragraph, width-len(FlagIndent)) {
			fmt.Fprintf(w, "%s%s\n", FlagIndent, line)
		}
	}
}

// defaultOf returns the default of a flag in parentheses, or an empty string for a zero value.
func defaultOf(flag *pflag.Flag) string {
	switch flag.DefValue {
	case "", "0", "0s", "false", "[]", "<nil>":
		return ""
	}
	if flag.Value.Type() == "bool" {
		return "(default true)"
	}
	return " (default " + flag.DefValue + ")"
}

// FlagIndent is the indentation of the description of a flag.
const FlagIndent = "          "

// These are the limits of the width of a help text. A help text that is not written to a terminal has the width
// MaxWidth.
const (
	minWidth = 40
	MaxWidth = 120
)

// TerminalWidth returns the width for a help text that is written to w. If w is a terminal, this is the terminal's
// width within the limits. Otherwise it is MaxWidth.
func TerminalWidth(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			return min(max(columns, minWidth), MaxWidth)
		}
	}
	return MaxWidth
}

type flagGroup struct {
	heading string
	flags   []*pflag.Flag
}

const headingKey = "heading"

// UnderHeading makes the help text list the named flags below the given heading. If no names are given, it does so for
// all flags that have no heading yet.
func UnderHeading(flags *pflag.FlagSet, heading string, names ...string) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if slices.Contains(names, flag.Name) || len(names) == 0 && flag.Annotations[headingKey] == nil {
			_ = flags.SetAnnotation(flag.Name, headingKey, []string{heading})
		}
	})
}

// flagGroups returns the visible flags of a command, grouped by heading. The flags without a heading come first. The
// other groups follow in the order of their first flags.
func flagGroups(c *cobra.Command) []*flagGroup {
	groups := []*flagGroup{{heading: "Flags"}}
	add := func(flag *pflag.Flag) {
		heading := "Flags"
		if of := flag.Annotations[headingKey]; len(of) > 0 {
			heading = of[0]
		}
		if flag.Hidden || flag.Name == "help" {
			return
		}
		i := slices.IndexFunc(groups, func(g *flagGroup) bool { return g.heading == heading })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &flagGroup{heading: heading})
		}
		groups[i].flags = append(groups[i].flags, flag)
	}
	c.LocalFlags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	if len(groups[0].flags) == 0 {
		return groups[1:]
	}
	return groups
}
