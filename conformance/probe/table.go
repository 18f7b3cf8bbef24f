package probe

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// WriteTable writes the report for people. What the kubelet has said is written without what a terminal would act on.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)", r.URL, r.Address)
	if r.Version != "" {
		fmt.Fprintf(&b, ", kubelet %s", line(r.Version))
	}
	b.WriteString("\n\n")
	r.writeIdentities(&b)
	r.writeMatrix(&b)
	r.writeTLS(&b)
	r.writeSettings(&b)
	r.writeFindings(&b)
	r.writeComparison(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// line makes what the kubelet may have said one line, without what a terminal would act on.
func line(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, s)
}

// columns aligns rows of cells; those that are left out at the end leave no space behind.
func columns(b *strings.Builder, write func(row func(cells ...string))) {
	var aligned strings.Builder
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	write(func(cells ...string) {
		for i, cell := range cells {
			cells[i] = line(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	})
	w.Flush()
	for padded := range strings.Lines(aligned.String()) {
		b.WriteString(strings.TrimRight(padded, " \n") + "\n")
	}
	b.WriteString("\n")
}

func (r *Report) writeIdentities(b *strings.Builder) {
	b.WriteString("AS WHOM\n")
	columns(b, func(row func(...string)) {
		for _, i := range r.Identities {
			cells := []string{"  " + i.Name, i.Credential}
			if i.User != "" {
				cells = append(cells, "the kubelet says: "+i.User)
			}
			row(cells...)
		}
	})
}

func (r *Report) writeMatrix(b *strings.Builder) {
	b.WriteString("WHO MAY DO WHAT\n")
	var reasons []string
	columns(b, func(row func(...string)) {
		head := []string{"  REQUEST", "NEEDS"}
		for _, i := range r.Identities {
			head = append(head, i.Name)
		}
		head = append(head, fmt.Sprintf(":%d", r.ReadOnly.Port))
		row(head...)
		for _, request := range r.Requests {
			name := request.Method + " " + request.Path
			cells := []string{"  " + name, strings.Join(request.Rights, " or ")}
			for _, i := range r.Identities {
				cells = append(cells, cell(i.Name, request.Responses, &reasons))
			}
			row(append(cells, cell(name, r.ReadOnly.Responses, &reasons))...)
		}
	})
	for n, reason := range reasons {
		fmt.Fprintf(b, "  [%d] %s\n", n+1, line(reason))
	}
	if len(reasons) > 0 {
		b.WriteString("\n")
	}
}

// cell is an answer in a word: its status, or the number of the reason why there is none.
func cell(of string, answers map[string]Response, reasons *[]string) string {
	a, asked := answers[of]
	switch {
	case !asked:
		return "-"
	case a.Access == NotServed:
		return strconv.Itoa(a.Status) + " unasked"
	case a.Status != 0:
		return strconv.Itoa(a.Status)
	}
	for n, reason := range *reasons {
		if reason == a.Error {
			return fmt.Sprintf("- [%d]", n+1)
		}
	}
	*reasons = append(*reasons, a.Error)
	return fmt.Sprintf("- [%d]", len(*reasons))
}

func (r *Report) writeTLS(b *strings.Builder) {
	b.WriteString("TLS\n")
	columns(b, func(row func(...string)) {
		if r.TLS.Error != "" {
			row("  handshake", r.TLS.Error)
		}
		for _, v := range r.TLS.Versions {
			what := "refused"
			if v.Accepted {
				what = strings.Join(v.CipherSuites, " ")
			}
			row("  "+v.Name, what)
		}
		if r.Certificate == nil {
			return
		}
		row("  ALPN", list(r.TLS.Protocols, "none"))
		asked := "not requested"
		if r.TLS.ClientCertificateRequested {
			asked = "requested, of " + list(r.TLS.ClientCAs, "no CA that is named")
		}
		row("  client certificate", asked)
		c := r.Certificate
		row("  serving certificate", c.Subject+", of "+c.Issuer+": "+string(c.Kind))
		row("  for", list(c.Names, "no host"))
		row("  valid", c.NotBefore.Format(time.DateTime)+" to "+c.NotAfter.Format(time.DateTime)+" UTC")
		row("  key", c.Key+"; signed with "+c.Signature)
		verified := map[string]string{"yes": "by the given CA", "no": "not by the given CA: " + c.Error, unknown: "no CA was given (--ca)"}[c.Verified]
		row("  verified", verified)
	})
}

func (r *Report) writeSettings(b *strings.Builder) {
	b.WriteString("SETTINGS, AS FAR AS THEY SHOW\n")
	columns(b, func(row func(...string)) {
		for _, s := range r.Settings {
			row("  "+s.Name, s.Value, s.Evidence)
		}
	})
}

func (r *Report) writeFindings(b *strings.Builder) {
	if len(r.Findings) == 0 {
		b.WriteString("Nothing dangerous was found.\n")
		return
	}
	b.WriteString("FINDINGS\n")
	for _, f := range r.Findings {
		fmt.Fprintf(b, "  %s  %s (%s)\n", strings.ToUpper(string(f.Severity)), line(f.What), f.ID)
		fmt.Fprintf(b, "    seen:  %s\n", line(f.Evidence))
		if f.Risk != "" {
			fmt.Fprintf(b, "    risk:  %s\n", f.Risk)
		}
		if f.Configuration != "" {
			b.WriteString("    KubeletConfiguration:\n")
			for setting := range strings.Lines(f.Configuration) {
				b.WriteString("      " + setting)
			}
		}
		if f.Remedy != "" {
			fmt.Fprintf(b, "    do:    %s\n", f.Remedy)
		}
		b.WriteString("\n")
	}
}

func (r *Report) writeComparison(b *strings.Builder) {
	c := r.Comparison
	if c == nil {
		return
	}
	fmt.Fprintf(b, "BESIDE A STAND-IN OF %s, WITH REVIEWS %s\n", c.Configuration, c.Reviews)
	if len(c.Differences) == 0 {
		b.WriteString("  They do not differ in anything that could be compared.\n")
	}
	columns(b, func(row func(...string)) {
		if len(c.Differences) > 0 {
			row("  DIFFERS", "KUBELET", "CONFIGURATION", "IN")
		}
		for _, d := range c.Differences {
			row("  "+d.What, d.Kubelet, d.Configuration, strings.Join(d.Requests, ", "))
		}
	})
	for _, what := range c.NotCompared {
		fmt.Fprintf(b, "  not compared: %s\n", line(what))
	}
}
