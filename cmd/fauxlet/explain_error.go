package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

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
	d := symptoms.Recognise(text)
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
