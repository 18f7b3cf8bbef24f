package symptoms

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/internal/color"
)

// WriteText writes the diagnosis as text. It writes nothing if there are no findings.
func (d *Diagnosis) WriteText(w io.Writer, style color.Style) error {
	if len(d.Findings) == 0 {
		return nil // without a finding, it does not help to know which program printed the text
	}
	var b strings.Builder
	for _, source := range d.Sources {
		fmt.Fprintf(&b, "Reported by %s: %s.\n\n", source.Name, source.Meaning)
	}
	for i, found := range d.Findings {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s\n%s.\n\n", style.Paint(color.Red, color.Printable(found.Found)),
			color.Printable(found.Meaning))
		for i, cause := range found.Causes {
			fmt.Fprintf(&b, "%d. %s\n   check:  %s\n   remedy: %s\n",
				i+1, color.Printable(cause.Cause), color.Printable(cause.Check), color.Printable(cause.Remedy))
		}
		printIndented(&b, "\nNext steps:\n", found.Next)
		printIndented(&b, "\nPublic reports:\n", found.Reports)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printIndented(b *strings.Builder, title string, lines []string) {
	if len(lines) > 0 {
		b.WriteString(title)
	}
	for _, line := range lines {
		fmt.Fprintf(b, "  %s\n", color.Printable(line))
	}
}
