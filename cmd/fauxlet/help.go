package main

import (
	"cmp"
	"embed"
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

// writeHelp writes the help of a command: description, examples, usage, subcommands, flags grouped by heading, and exit
// codes. It wraps the description and the texts of the flags at the given width. Other lines may be longer.
func writeHelp(w io.Writer, c *cobra.Command, width int) {
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
	if codes := c.Annotations[exitCodesKey]; codes != "" {
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
		for _, line := range color.Wrap(paragraph, width-len(flagIndent)) {
			fmt.Fprintf(w, "%s%s\n", flagIndent, line)
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

// flagIndent is the indentation of the description of a flag.
const flagIndent = "          "

// These are the limits of the width of a help text. A help text that is not written to a terminal has the width
// maxHelpWidth.
const (
	minHelpWidth = 40
	maxHelpWidth = 120
)

// terminalWidth returns the width for a help text that is written to w. If w is a terminal, this is the terminal's
// width within the limits. Otherwise it is maxHelpWidth.
func terminalWidth(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			return min(max(columns, minHelpWidth), maxHelpWidth)
		}
	}
	return maxHelpWidth
}

type flagGroup struct {
	heading string
	flags   []*pflag.Flag
}

const headingKey = "heading"

// underHeading makes the help text list the named flags below the given heading. If no names are given, it does so for
// all flags that have no heading yet.
func underHeading(flags *pflag.FlagSet, heading string, names ...string) {
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

const exitCodesKey = "exit codes"

// helpTexts has a text for each command, with its description, examples and exit codes.
//
//go:embed help
var helpTexts embed.FS

// addHelpTexts sets the help texts of a command and of all commands below it. If a command already has a long text,
// that text is put after the description.
func addHelpTexts(c *cobra.Command) {
	path := strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
	data, err := helpTexts.ReadFile("help/" + strings.ReplaceAll(path, " ", "-") + ".txt")
	if err != nil {
		panic(err) // the command has no help text
	}
	text, codes, _ := strings.Cut(strings.TrimRight(string(data), "\n"), "\n\nExit codes:\n")
	text, examples, _ := strings.Cut(text, "\n\nExamples:\n")
	first, _, _ := strings.Cut(text, "\n")
	c.Short, c.Example = strings.TrimSuffix(first, "."), examples
	c.Long = strings.TrimSpace(text + "\n\n" + c.Long)
	c.Annotations = map[string]string{exitCodesKey: codes}
	for _, sub := range c.Commands() {
		addHelpTexts(sub)
	}
}
