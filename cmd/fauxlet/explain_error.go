package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"fauxlet/internal/color"
	"fauxlet/internal/symptoms"
)

// mostOfError is how much is read of an error, in bytes.
const mostOfError = 1 << 20

func (e *explaining) explainError(c *cobra.Command) error {
	text := e.errorText
	if text == "-" {
		data, err := io.ReadAll(io.LimitReader(c.InOrStdin(), mostOfError))
		if err != nil {
			return &exitError{fmt.Errorf("--error: %w", err), exitUnanswered}
		}
		text = string(data)
	}
	if text == "" {
		return &exitError{errors.New("--error: nothing was said; is it on standard error? (2>&1)"), exitUnanswered}
	}
	d := symptoms.Diagnose(text)
	if d.Findings == nil {
		d.Findings = []symptoms.Finding{}
	}
	if e.output == "json" {
		if err := writeJSON(c.OutOrStdout(), d); err != nil {
			return err
		}
	} else if err := printDiagnosis(c.OutOrStdout(), d); err != nil {
		return err
	}
	if len(d.Findings) == 0 {
		return &exitError{errors.New("this error is not known; what is known is in docs/errors.md. fauxlet check --kubeconfig admin.conf looks at kube-apiserver's way to the kubelets, fauxlet probe at a kubelet"), exitUnknown}
	}
	return nil
}

// printDiagnosis prints what is known about an error.
func printDiagnosis(w io.Writer, d symptoms.Diagnosis) error {
	var b strings.Builder
	style := color.For(w)
	sources := d.Sources
	if len(d.Findings) == 0 {
		sources = nil // the source of an unknown error does not help
	}
	for _, source := range sources {
		fmt.Fprintf(&b, "Reported by %s: %s.\n\n", source.Name, source.Meaning)
	}
	for i, found := range d.Findings {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s\n%s.\n\n", style.Paint(color.Red, visible(found.Found)), visible(found.Meaning))
		for i, cause := range found.Causes {
			fmt.Fprintf(&b, "%d. %s\n   check:  %s\n   remedy: %s\n",
				i+1, visible(cause.Cause), visible(cause.Check), visible(cause.Remedy))
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
		fmt.Fprintf(b, "  %s\n", visible(line))
	}
}
