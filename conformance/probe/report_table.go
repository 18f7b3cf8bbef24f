package probe

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"fauxlet/internal/color"
)

// WriteTable writes the report as text. It escapes characters in the kubelet's responses that are not printable.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString(r.URL)
	if r.Address != "" {
		fmt.Fprintf(&b, " (%s)", r.Address)
	}
	if r.Version != "" {
		fmt.Fprintf(&b, ", kubelet %s", color.Printable(r.Version))
	}
	b.WriteString("\n\n")
	r.writeIdentities(&b)
	r.writeMatrix(&b)
	if len(r.NotProbed) == 0 {
		r.writeTLS(&b)
	}
	r.writeSettings(&b)
	r.writeFindings(&b)
	r.writeComparison(&b)
	if len(r.NotProbed) > 0 {
		var rows [][]string
		for _, omission := range r.NotProbed {
			rows = append(rows, []string{omission.What, omission.Why})
		}
		section(&b, "NOT PROBED", rows)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// section writes a heading, then the rows with their cells aligned in columns, and then an empty line. Lines have no
// trailing spaces.
func section(b *strings.Builder, heading string, rows [][]string) {
	var aligned strings.Builder
	w := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		fmt.Fprint(w, "  ")
		for i, cell := range cells {
			cells[i] = color.Printable(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
	b.WriteString(heading + "\n")
	for padded := range strings.Lines(aligned.String()) {
		b.WriteString(strings.TrimRight(padded, " \n") + "\n")
	}
	b.WriteString("\n")
}

func (r *Report) writeIdentities(b *strings.Builder) {
	var rows [][]string
	for _, i := range r.Identities {
		row := []string{i.Name, i.Credential}
		if i.User != "" {
			row = append(row, "authenticated as "+i.User)
		}
		rows = append(rows, row)
	}
	section(b, "IDENTITIES", rows)
}

func (r *Report) writeMatrix(b *strings.Builder) {
	var reasons []string
	head := []string{"REQUEST", "NEEDS"}
	for _, i := range r.Identities {
		head = append(head, i.Name)
	}
	rows := [][]string{append(head, fmt.Sprintf(":%d", r.ReadOnly.Port))}
	for _, request := range r.Requests {
		name := request.Method + " " + request.Path
		row := []string{name, strings.Join(request.Rights, " or ")}
		for _, i := range r.Identities {
			row = append(row, cell(i.Name, request.Responses, &reasons))
		}
		rows = append(rows, append(row, cell(name, r.ReadOnly.Responses, &reasons)))
	}
	section(b, "RESPONSES", rows)
	for n, reason := range reasons {
		fmt.Fprintf(b, "  [%d] %s\n", n+1, color.Printable(reason))
	}
	if len(reasons) > 0 {
		b.WriteString("\n")
	}
}

// cell returns the text for the response with the given key: the HTTP status, or "-" if there is no response with this
// key. The text "no auth" after the status means that the kubelet responded before it authenticated the client. If a
// response has no status, the text refers to the reason by number, like a footnote: "- [2]" refers to the second
// element of "reasons". A new reason is appended to "reasons".
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
	if !slices.Contains(*reasons, a.Error) {
		*reasons = append(*reasons, a.Error)
	}
	return fmt.Sprintf("- [%d]", slices.Index(*reasons, a.Error)+1)
}

func (r *Report) writeTLS(b *strings.Builder) {
	var rows [][]string
	if r.TLS.Error != "" {
		rows = append(rows, []string{"handshake", r.TLS.Error})
	}
	for _, v := range r.TLS.Versions {
		suites := "refused"
		if v.Accepted {
			suites = strings.Join(v.CipherSuites, " ")
		}
		rows = append(rows, []string{v.Name, suites})
	}
	if c := r.Certificate; c != nil {
		requested := "not requested"
		if r.TLS.ClientCertificateRequested {
			requested = "requested; listed CAs: " + list(r.TLS.ClientCAs, "none")
		}
		verified := map[string]string{"yes": "by the given CA", "no": "not by the given CA: " + c.Error,
			unknown: "no CA was given (--ca)"}
		if c.otherHost {
			verified["no"] = "by the given CA, but not for the host: " + c.Error
		}
		rows = append(rows, [][]string{{"ALPN", list(r.TLS.Protocols, "none")}, {"client certificate", requested},
			{"serving certificate", c.Subject + ", issued by " + c.Issuer + ": " + string(c.Kind)},
			{"names", list(c.Names, "none")}, {"node", c.nodeText()},
			{"valid", c.NotBefore.Format(time.DateTime) + " to " + c.NotAfter.Format(time.DateTime) + " UTC"},
			{"key", c.Key + "; signed with " + c.Signature}, {"verified", verified[c.Verified]}}...)
	}
	section(b, "TLS", rows)
}

func (r *Report) writeSettings(b *strings.Builder) {
	var rows [][]string
	for _, s := range r.Settings {
		rows = append(rows, []string{s.Name, s.Value, s.Evidence})
	}
	section(b, "SETTINGS", rows)
}

func (r *Report) writeFindings(b *strings.Builder) {
	if len(r.Findings) == 0 {
		b.WriteString(r.nothingFound() + "\n")
		return
	}
	b.WriteString("FINDINGS\n")
	for _, f := range r.Findings {
		fmt.Fprintf(b, "  %s  %s (%s)\n", strings.ToUpper(string(f.Severity)), color.Printable(f.What),
			f.ID+f.numbers())
		fmt.Fprintf(b, "    evidence: %s\n", color.Printable(f.Evidence))
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
	rows := [][]string{{"DIFFERENCE", "KUBELET", "CONFIGURATION", "REQUESTS"}}
	for _, d := range c.Differences {
		rows = append(rows, []string{d.What, d.Kubelet, d.Configuration, strings.Join(d.Requests, ", ")})
	}
	if len(c.Differences) == 0 {
		rows = [][]string{{"No differences."}}
	}
	section(b, fmt.Sprintf("COMPARISON WITH %s (REVIEWS %s)", c.Configuration, c.Reviews), rows)
	for _, what := range c.NotCompared {
		fmt.Fprintf(b, "  not compared: %s\n", color.Printable(what))
	}
}
