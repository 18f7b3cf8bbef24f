package helptext

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ManName returns the name of the manual page of a command, without a section. It is fauxlet-fault-add for the command
// "fauxlet fault add".
func ManName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// WriteMan writes the manual page of a command for section 1, in roff with the macros of package man. The page has the
// same texts as the help. Its foot shows the version, and the date, which is such as 2026-01-31.
func WriteMan(w io.Writer, c *cobra.Command, version, date string) {
	section := func(heading string) { fmt.Fprintf(w, ".SH %s\n", roff(strings.ToUpper(heading))) }
	fmt.Fprintf(w, ".TH %s 1 \"%s\" \"%s\" \"%s\"\n", roff(strings.ToUpper(ManName(c))), date,
		roff(c.Root().Name()+" "+version), roff(c.Root().Name()))
	section("Name")
	fmt.Fprintf(w, "%s \\- %s\n", roff(ManName(c)), roff(c.Short))
	section("Synopsis")
	usage := c.UseLine()
	if c.HasAvailableSubCommands() {
		usage = c.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(w, ".B %s\n", roff(usage))
	section("Description")
	for i, paragraph := range strings.Split(cmp.Or(c.Long, c.Short), "\n\n") {
		if i > 0 && !indented.MatchString(paragraph) {
			fmt.Fprintln(w, ".PP")
		}
		writeBlock(w, paragraph)
	}
	if c.HasAvailableSubCommands() {
		section("Commands")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				writeItem(w, `\fB`+roff(sub.Name())+`\fR`, sub.Short)
			}
		}
	}
	for _, g := range flagGroups(c) {
		section(g.heading)
		for _, flag := range g.flags {
			kind, usage := pflag.UnquoteUsage(flag)
			name := `\fB` + roff("--"+flag.Name) + `\fR`
			if flag.Shorthand != "" {
				name = `\fB` + roff("-"+flag.Shorthand) + `\fR, ` + name
			}
			if kind != "" {
				name += ` \fI` + roff(kind) + `\fR`
			}
			writeItem(w, name+" "+roff(strings.TrimSpace(defaultOf(flag))), usage)
		}
	}
	if codes := c.Annotations[ExitCodesKey]; codes != "" {
		section("Exit status")
		writeBlock(w, codes)
	}
	if c.Example != "" {
		section("Examples")
		fmt.Fprintf(w, ".nf\n%s\n.fi\n", roff(c.Example))
	}
	section("See also")
	var others []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			others = append(others, `\fB`+roff(ManName(sub))+`\fR(1)`)
		}
	}
	if c.HasParent() {
		others = append([]string{`\fB` + roff(ManName(c.Parent())) + `\fR(1)`}, others...)
	}
	fmt.Fprintln(w, strings.Join(others, ",\n"))
}

// indented matches the beginning of an indented line.
var indented = regexp.MustCompile(`(?m)^[ \t]`)

// row matches a line of a table with two columns: an indented word, two or more spaces, and a text.
var row = regexp.MustCompile(`^ +(\S+) {2,}(\S.*)$`)

// writeBlock writes a paragraph of a help text. The lines of a table become the items of a list; other indented lines
// are kept as they are.
func writeBlock(w io.Writer, text string) {
	if !indented.MatchString(text) {
		fmt.Fprintln(w, roff(text))
		return
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if columns := row.FindStringSubmatch(line); columns != nil {
			writeItem(w, `\fB`+roff(columns[1])+`\fR`, columns[2])
		} else {
			fmt.Fprintf(w, ".PP\n.nf\n%s\n.fi\n", roff(strings.ReplaceAll(line, "\t", "    ")))
		}
	}
}

// writeItem writes an item of a list. The name is in roff already.
func writeItem(w io.Writer, name, text string) {
	fmt.Fprintf(w, ".TP\n%s\n%s\n", strings.TrimRight(name, " "), roff(text))
}

// roff escapes a text. No line of the result is taken for a macro.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`, "'", `\(aq`).Replace(text)
	return regexp.MustCompile(`(?m)^\.`).ReplaceAllString(text, `\&.`)
}
