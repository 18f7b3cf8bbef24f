package symptoms

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestPublicReports checks the diagnosis of errors from public reports.
func TestPublicReports(t *testing.T) {
	var reports []struct{ Text, Source, First, Caller, Callee string }
	readTestdata(t, "reports.yaml", &reports)
	const atLeast = 150
	if len(reports) < atLeast {
		t.Errorf("%d reports, want at least %d", len(reports), atLeast)
	}
	for _, report := range reports {
		d := Diagnose(report.Text)
		if len(d.Findings) == 0 {
			t.Errorf("%q (%s) is not recognized, want %s", report.Text, report.Source, report.First)
			continue
		}
		first := d.Findings[0]
		if first.ID != report.First {
			t.Errorf("%q (%s): the first finding is %s, want %s", report.Text, report.Source, first.ID, report.First)
		}
		if first.Facts.Caller != report.Caller || first.Facts.Callee != report.Callee {
			t.Errorf("%q (%s): an error between %q and %q, want %q and %q", report.Text, report.Source,
				first.Facts.Caller, first.Facts.Callee, report.Caller, report.Callee)
		}
	}
}

// TestVariants checks the diagnosis of errors in several wordings and of several programs, and words of the output.
func TestVariants(t *testing.T) {
	var groups []struct {
		First                  string
		Contains, Lacks, Texts []string
	}
	readTestdata(t, "variants.yaml", &groups)
	for _, group := range groups {
		for _, text := range group.Texts {
			d := Diagnose(text)
			if len(d.Findings) == 0 || d.Findings[0].ID != group.First {
				t.Errorf("%q has the findings %+v, want %s first", text, d.Findings, group.First)
				continue
			}
			d.Findings = d.Findings[:1]
			var b strings.Builder
			check(t, d.WriteText(&b, false))
			for _, want := range group.Contains {
				if !strings.Contains(b.String(), want) {
					t.Errorf("the diagnosis of %q does not contain %q:\n%s", text, want, b.String())
				}
			}
			for _, not := range group.Lacks {
				if strings.Contains(b.String(), not) {
					t.Errorf("the diagnosis of %q contains %q:\n%s", text, not, b.String())
				}
			}
		}
	}
}

// TestSeveralErrors checks that the errors of a text are separated and are in the order of time, and that an error
// which only follows from another one is last.
func TestSeveralErrors(t *testing.T) {
	var tests []struct {
		Name, Text string
		Want       []string
	}
	readTestdata(t, "several.yaml", &tests)
	for _, test := range tests {
		var got []string
		for _, f := range Diagnose(test.Text).Findings {
			got = append(got, f.ID)
		}
		if !slices.Equal(got, test.Want) {
			t.Errorf("%s: findings %q, want %q", test.Name, got, test.Want)
		}
	}
}

func readTestdata(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	check(t, err)
	check(t, yaml.UnmarshalStrict(data, into))
}
