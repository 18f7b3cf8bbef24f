package main

import (
	"embed"
	"strings"

	"github.com/spf13/cobra"

	"fauxlet/internal/helptext"
)

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
	c.Annotations = map[string]string{helptext.ExitCodesKey: codes}
	for _, sub := range c.Commands() {
		addHelpTexts(sub)
	}
}
