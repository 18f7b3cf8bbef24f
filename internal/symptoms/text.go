package symptoms

import (
	"fmt"
	"io"
	"strings"

	"fauxlet/internal/color"
)

// WriteText writes the diagnosis as text. It writes nothing if there are no findings.
func (d *Diagnosis) WriteText(w io.Writer, style color.Style) error {
	var b strings.Builder
	for i, found := range d.Findings {
		if i > 0 {
			b.WriteString("\n")
		}
		if len(d.Findings) > 1 {
			fmt.Fprintf(&b, "Error %d of %d\n", i+1, len(d.Findings))
		}
		found.write(&b, style)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *Finding) write(b *strings.Builder, style color.Style) {
	fmt.Fprintf(b, "%s.\n", color.Printable(f.Meaning))
	if f.Unrelated {
		b.WriteString("No kubelet is involved in this error.\n")
	}
	fmt.Fprintf(b, "\n  %s\n", style.Paint(color.Red, color.Printable(f.Found)))
	if origin := f.origin(); origin != "" {
		fmt.Fprintf(b, "  (%s)\n", color.Printable(origin))
	}
	b.WriteString("\n")
	for i, cause := range f.Causes {
		fmt.Fprintf(b, "%d. %s\n   check:  %s\n   remedy: %s\n",
			i+1, color.Printable(cause.Cause), color.Printable(cause.Check), color.Printable(cause.Remedy))
	}
	printIndented(b, "\nNext steps:\n", f.Next)
	printIndented(b, "\nPublic reports:\n", f.Reports)
}

// origin states where the error comes from: the program that wrote it, the time, and the version of Kubernetes.
func (f *Finding) origin() string {
	var parts []string
	if f.Facts.Writer != "" {
		parts = append(parts, "written by "+f.Facts.Writer)
	}
	if f.Facts.Time != "" {
		parts = append(parts, "at "+f.Facts.Time)
	}
	if f.Lines > 1 {
		parts = append(parts, fmt.Sprintf("in %d lines", f.Lines))
	}
	if f.Facts.Version != "" {
		parts = append(parts, "in the wording of Kubernetes "+f.Facts.Version)
	}
	return strings.Join(parts, ", ")
}

func printIndented(b *strings.Builder, title string, lines []string) {
	if len(lines) > 0 {
		b.WriteString(title)
	}
	for _, line := range lines {
		fmt.Fprintf(b, "  %s\n", color.Printable(line))
	}
}
