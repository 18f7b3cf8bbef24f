package symptoms

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestTable checks that every symptom is complete, and that each name in braces in its texts is the name of a group in
// its pattern.
func TestTable(t *testing.T) {
	if len(Table()) < 20 {
		t.Errorf("%d symptoms, want at least 20", len(Table()))
	}
	ids := map[string]bool{}
	for _, s := range Table() {
		for _, condition := range slices.Concat(s.When, whenOfCauses(s)) {
			name, _, ok := strings.Cut(condition, "=")
			if facts := []string{"writer", "caller", "callee", "operation", "side"}; !ok ||
				!slices.Contains(facts, strings.TrimSuffix(name, "!")) {
				t.Errorf("%s: the condition %q is not of the form FACT=VALUE or FACT!=VALUE", s.ID, condition)
			}
		}
		if s.ID == "" || ids[s.ID] || len(s.Texts) == 0 || s.Meaning == "" || len(s.Causes) == 0 || len(s.Next) == 0 {
			t.Errorf("%q: a field is missing, or the ID is not unique", s.ID)
		}
		ids[s.ID] = true
		if !slices.Contains([]string{ofGo, ofKubelets, ofKubectl, ofFaults, ofKonnectivity, ""}, s.Proof) {
			t.Errorf("%s: unknown proof %q", s.ID, s.Proof)
		}
		if (s.Proof == "") == (s.Unproved == "") {
			t.Errorf("%s: needs either a proof, or the reason why there is none", s.ID)
		}
		for _, report := range s.Reports {
			if !strings.HasPrefix(report, "https://github.com/") {
				t.Errorf("%s: the report %s does not begin with https://github.com/", s.ID, report)
			}
		}
		texts := append([]string{s.Meaning}, s.Next...)
		for _, c := range s.Causes {
			if c.Cause == "" || c.Check == "" || c.Remedy == "" {
				t.Errorf("%s: the cause %+v needs a cause, a check and a remedy", s.ID, c)
			}
			texts = append(texts, c.Cause, c.Check, c.Remedy)
		}
		groups := s.Pattern.SubexpNames()
		for _, text := range texts {
			for _, name := range valueName.FindAllString(text, -1) {
				if !slices.Contains(append(groups, factNames...), strings.Trim(name, "{}")) {
					t.Errorf("%s: %q contains %s, but the pattern has no group with that name", s.ID, text, name)
				}
			}
		}
	}
}

func whenOfCauses(e Entry) (all conditions) {
	for _, c := range e.Causes {
		all = append(all, c.When...)
	}
	return all
}

// TestEachProgramHasCauses checks that no program loses a cause, except the one that turns verification off.
func TestEachProgramHasCauses(t *testing.T) {
	for _, p := range catalog().Programs {
		for _, name := range []string{"trust", "addresses", "credential"} {
			if settingsOf(p.Name)[name] == "" {
				t.Errorf("%s has no setting %s", p.Name, name)
			}
		}
	}
}

// factNames are the names in braces that need no group in a pattern: facts, and settings of programs.
var factNames = []string{"caller", "callee", "address", "host", "from", "path", "node", "operation", "trust", "skip",
	"addresses", "credential"}

// TestTextsAreRecognized checks that Diagnose recognizes the Texts of each symptom. The test first replaces the
// variable parts of the Texts by values.
func TestTextsAreRecognized(t *testing.T) {
	fill := strings.NewReplacer(
		"…:10250", "192.0.2.7:10250",
		"…:10255", "192.0.2.7:10255",
		"…:6443", "192.0.2.7:6443",
		"…:2379", "192.0.2.7:2379",
		"…:4194", "192.0.2.7:4194",
		"feature gate: …", "feature gate: Old",
		"listen tcp …:", "listen tcp 0.0.0.0:9100:",
		"error from …:", "error from 192.0.2.9:41234:",
		"certificate for …", "certificate for 192.0.2.7",
		"valid for …, not …", "valid for node-2, not node-1",
		"on …:", "on 192.0.2.53:53:",
		"time … is before …", "time 2026-01-02T03:04:05Z is before 2026-01-03T00:00:00Z",
		"time … is after …", "time 2026-01-02T03:04:05Z is after 2026-01-01T00:00:00Z",
		`because of "…"`, `because of "x509: ECDSA verification failure"`,
		"algorithm …", "algorithm SHA1-RSA",
		"user=system:node:…", "user=system:node:node-1",
		"user=system:serviceaccount:…", "user=system:serviceaccount:a:b",
		"x509: …", "x509: something",
		"connection: …", "connection: what",
		"container … is", "container a is",
		"pod …;", "pod b;",
	)
	for _, s := range Table() {
		for _, text := range s.Texts {
			text = fill.Replace(text)
			found := Diagnose(text).Findings
			if len(found) != 1 || found[0].ID != s.ID {
				t.Errorf("%s: the text %q has the findings %+v, want this symptom only", s.ID, text, found)
			}
		}
	}
}

// TestOnlySpecificErrorIsFound checks texts in which a general error is a part of a specific error, or is logged
// before it. Diagnose must report only the specific error.
func TestOnlySpecificErrorIsFound(t *testing.T) {
	const attempt = "E1125 00:47:28.911480    8654 memcache.go:381] \"Couldn't get current server API group list\" " +
		"err=\"Get \\\"https://127.0.0.1:38759/api?timeout=32s\\\": "
	for _, test := range []struct{ text, id, found string }{
		{attempt + "dial tcp 127.0.0.1:38759: connect: connection refused\"\nThe connection to the server " +
			"127.0.0.1:38759 was refused - did you specify the right host or port?\n",
			"apiserver-refused",
			"The connection to the server 127.0.0.1:38759 was refused - did you specify the right host or port?"},
		{attempt + "tls: failed to verify certificate: x509: certificate signed by unknown authority\"\nUnable to " +
			"connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown authority\n",
			"apiserver-untrusted", "x509: certificate signed by unknown authority"},
		{"error: Internal error occurred: unable to upgrade connection: pod does not exist\n", "pod-does-not-exist",
			"pod does not exist"},
	} {
		d := Diagnose(test.text)
		if len(d.Findings) != 1 || d.Findings[0].ID != test.id || d.Findings[0].Found != test.found {
			t.Errorf("%q has the findings %+v, want %s with the text %q", test.text, d.Findings, test.id, test.found)
		}
	}
}

// TestCommandsAreQuoted checks that a value from the text is quoted in shell commands, so that it cannot inject another
// command.
func TestCommandsAreQuoted(t *testing.T) {
	d := Diagnose(`Forbidden (user=x; rm -rf $(pwd), verb=get, resource=nodes, subresource(s)=[proxy])`)
	if len(d.Findings) != 1 {
		t.Fatalf("diagnosis %+v, want one finding", d)
	}
	commands := d.Findings[0].Next
	for _, cause := range d.Findings[0].Causes {
		commands = append(commands, cause.Check, cause.Remedy)
	}
	for _, command := range commands {
		if strings.Contains(strings.ReplaceAll(command, `'x; rm -rf $(pwd)'`, ""), "rm -rf") {
			t.Errorf("the user name is not quoted in the command %s", command)
		}
	}
	if !strings.Contains(d.Findings[0].Meaning, "x; rm -rf $(pwd)") {
		t.Errorf("the meaning does not contain the user name: %s", d.Findings[0].Meaning)
	}
}

func TestUnknownTextsHaveNoFindings(t *testing.T) {
	for _, text := range []string{"", "\n", "all is well", "Error from server (NotFound): services \"x\" not found",
		"panic: nil", strings.Repeat("a", 2*maxText)} {
		if d := Diagnose(text); len(d.Findings) != 0 {
			t.Errorf("%.80q has the diagnosis %+v, want no findings", text, d)
		}
	}
}

// FuzzDiagnose checks that each finding is complete, and that each address, name and path among the facts is a part of
// the text.
func FuzzDiagnose(f *testing.F) {
	for _, s := range Table() {
		f.Add(s.Texts[0])
	}
	var groups []struct{ Texts []string }
	data, err := os.ReadFile("testdata/variants.yaml")
	if err != nil {
		f.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &groups); err != nil {
		f.Fatal(err)
	}
	for _, group := range groups {
		f.Add(strings.Join(group.Texts, "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := plain(text)
		joined := strings.Join(strings.Fields(shown), " ")
		for _, found := range Diagnose(text).Findings {
			if found.ID == "" || len(found.Next) == 0 || len(found.Causes) == 0 || found.Lines < 1 {
				t.Errorf("the finding %+v is not complete", found)
			}
			facts := found.Facts
			for _, fact := range []string{facts.Address, facts.From, facts.Path, facts.Node, facts.Time} {
				if !strings.Contains(shown, fact) && !strings.Contains(joined, fact) {
					t.Errorf("the fact %q is not in the text %q", fact, text)
				}
			}
		}
	})
}

// BenchmarkDiagnose diagnoses 64 KiB, the longest text that Diagnose reads: different lines, each with a known error.
func BenchmarkDiagnose(b *testing.B) {
	var reports []struct{ Text string }
	data, err := os.ReadFile("testdata/reports.yaml")
	if err != nil {
		b.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &reports); err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	for _, report := range reports {
		text.WriteString(report.Text + "\n\n")
	}
	Diagnose("")
	b.SetBytes(int64(min(text.Len(), maxText)))
	for b.Loop() {
		Diagnose(text.String())
	}
}
