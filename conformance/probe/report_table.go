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

// WriteTable writes the report as text. It replaces control characters in the kubelet's responses.
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

// line replaces characters that are not printable. The result is one line and cannot control a terminal.
func line(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}, s)
}

// columns writes aligned rows without trailing spaces.
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
	b.WriteString("IDENTITIES\n")
	columns(b, func(row func(...string)) {
		for _, i := range r.Identities {
			cells := []string{"  " + i.Name, i.Credential}
			if i.User != "" {
				cells = append(cells, "authenticated as "+i.User)
			}
			row(cells...)
		}
	})
}

func (r *Report) writeMatrix(b *strings.Builder) {
	b.WriteString("RESPONSES\n")
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

// cell returns the status of a response. If there is no status, it returns the number of the reason in reasons.
func cell(key string, responses map[string]Response, reasons *[]string) string {
	a, sent := responses[key]
	switch {
	case !sent:
		return "-"
	case a.Access == NotServed:
		return strconv.Itoa(a.Status) + " no auth"
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
		requested := "not requested"
		if r.TLS.ClientCertificateRequested {
			requested = "requested; listed CAs: " + list(r.TLS.ClientCAs, "none")
		}
		row("  client certificate", requested)
		c := r.Certificate
		row("  serving certificate", c.Subject+", issued by "+c.Issuer+": "+string(c.Kind))
		row("  names", list(c.Names, "none"))
		row("  valid", c.NotBefore.Format(time.DateTime)+" to "+c.NotAfter.Format(time.DateTime)+" UTC")
		row("  key", c.Key+"; signed with "+c.Signature)
		verified := map[string]string{"yes": "by the given CA", "no": "not by the given CA: " + c.Error,
			unknown: "no CA was given (--ca)"}[c.Verified]
		row("  verified", verified)
	})
}

func (r *Report) writeSettings(b *strings.Builder) {
	b.WriteString("SETTINGS\n")
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
		fmt.Fprintf(b, "    evidence: %s\n", line(f.Evidence))
		if f.Risk != "" {
			fmt.Fprintf(b, "    risk:     %s\n", f.Risk)
		}
		if f.Configuration != "" {
			b.WriteString("    KubeletConfiguration:\n")
			for setting := range strings.Lines(f.Configuration) {
				b.WriteString("      " + setting)
			}
		}
		if f.Remedy != "" {
			fmt.Fprintf(b, "    remedy:   %s\n", f.Remedy)
		}
		b.WriteString("\n")
	}
}

func (r *Report) writeComparison(b *strings.Builder) {
	c := r.Comparison
	if c == nil {
		return
	}
	fmt.Fprintf(b, "COMPARISON WITH %s (REVIEWS %s)\n", c.Configuration, c.Reviews)
	if len(c.Differences) == 0 {
		b.WriteString("  No differences.\n")
	}
	columns(b, func(row func(...string)) {
		if len(c.Differences) > 0 {
			row("  DIFFERENCE", "KUBELET", "CONFIGURATION", "REQUESTS")
		}
		for _, d := range c.Differences {
			row("  "+d.What, d.Kubelet, d.Configuration, strings.Join(d.Requests, ", "))
		}
	})
	for _, what := range c.NotCompared {
		fmt.Fprintf(b, "  not compared: %s\n", line(what))
	}
}
