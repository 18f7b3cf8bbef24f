package demo

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/internal/color"
)

const (
	// lineWidth is the length at which text is wrapped, in bytes. Shell commands are never wrapped.
	lineWidth = 100
	// labelWidth is the length of the longest label, in bytes.
	labelWidth = len("Configured")
)

// printer prints labelled paragraphs.
type printer struct {
	io.Writer
	style color.Style
}

// paragraph prints text after a label, wrapped and indented.
func (p printer) paragraph(label, text string) {
	line := padded(label)
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > lineWidth && strings.TrimSpace(line) != label {
			fmt.Fprintln(p, line)
			line = padded("")
		}
		line += " " + word
	}
	fmt.Fprintln(p, line)
}

// line prints text after a label in color, in one line.
func (p printer) line(label string, c color.Color, text string) {
	fmt.Fprintln(p, p.style.Paint(c, padded(label))+" "+text)
}

// padded returns a label followed by spaces up to the label width.
func padded(label string) string { return fmt.Sprintf("  %-*s ", labelWidth, label) }

// command prints a shell command in one line, so that a user can paste it.
func (p printer) command(command string) {
	fmt.Fprintln(p, strings.Repeat(" ", labelWidth+4)+p.style.Paint(color.Dim, command))
}
