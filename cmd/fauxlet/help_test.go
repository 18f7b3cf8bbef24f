package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"fauxlet/internal/helptext"
)

// TestHelpFitsTerminal checks that descriptions of commands and flags are wrapped to the width of the terminal.
func TestHelpFitsTerminal(t *testing.T) {
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		for _, width := range []int{60, helptext.MaxWidth} {
			var b bytes.Buffer
			helptext.Write(&b, c, width)
			description, rest, _ := strings.Cut(b.String(), "\nUsage:\n")
			description, _, _ = strings.Cut(description, "\nExamples:\n")
			var lines []string
			for line := range strings.Lines(description + rest) {
				line = strings.TrimRight(line, "\n")
				// Check only wrapped lines. A line that is indented less than the description of a flag is a row of a
				// table or the name of a flag, and is not wrapped.
				if !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, helptext.FlagIndent) {
					lines = append(lines, line)
				}
			}
			for _, line := range lines {
				if utf8.RuneCountInString(line) > width && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("%s: wider than %d: %s", c.CommandPath(), width, line)
				}
			}
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(newRoot())
}
