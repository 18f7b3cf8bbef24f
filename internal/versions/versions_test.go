package versions

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"fauxlet/config"
)

var update = flag.Bool("update", false, "write the list in docs/versions.md")

func version(t *testing.T, text string) config.Version {
	t.Helper()
	v, err := config.ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestDocs compares the list in docs/versions.md with the table of package config.
func TestDocs(t *testing.T) {
	const file = "../../docs/versions.md"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "-run TestDocs -update -->\n"
	text, _, found := strings.Cut(string(data), mark)
	if !found {
		t.Fatalf("%s has no mark for the list", file)
	}
	all, err := Between(config.Oldest(), config.Version{})
	if err != nil {
		t.Fatal(err)
	}
	want := text + mark + markdown(all)
	if *update {
		err = os.WriteFile(file, []byte(want), 0o644)
	} else if want != string(data) {
		t.Errorf("%s is out of date; run: go test ./internal/versions -run TestDocs -update", file)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func markdown(all *Changes) string {
	var b strings.Builder
	since := ""
	for _, c := range all.Changes {
		if c.Since != since {
			since = c.Since
			fmt.Fprintf(&b, "\n### Since %s\n\n| about | change | source |\n|---|---|---|\n", since)
		}
		what := c.What
		if len(c.Backports) > 0 {
			what += " Also in " + strings.Join(c.Backports, ", ") + "."
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` |\n", c.Subject, what, c.Source)
	}
	return b.String()
}

func TestBetween(t *testing.T) {
	changes, err := Between(version(t, "1.35"), version(t, "1.36"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes.Changes {
		if c.Since != "1.36" {
			t.Errorf("a change of %s is listed between 1.35 and 1.36: %s", c.Since, c.What)
		}
	}
	var text bytes.Buffer
	changes.Write(&text, 60)
	const want = "KubeletFineGrainedAuthz is locked to on"
	if !strings.Contains(text.String(), want) || strings.Contains(text.String(), "since 1.37") {
		t.Errorf("the text does not contain %q, or contains another version:\n%s", want, &text)
	}
	for line := range strings.Lines(text.String()) {
		if len(strings.TrimSpace(line)) > 60 && strings.HasPrefix(line, "  ") {
			t.Errorf("a line is longer than 60: %s", line)
		}
	}
	if _, err := Between(version(t, "1.36"), version(t, "1.33")); err == nil ||
		!strings.Contains(err.Error(), "version 1.36 is newer than 1.33") {
		t.Errorf("from a newer to an older version: %v", err)
	}
	same, err := Between(version(t, "1.34"), version(t, "1.34"))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := json.Marshal(same); err != nil || string(data) != `{"from":"1.34.4","to":"1.34.4","changes":[]}` {
		t.Errorf("%s, %v", data, err)
	}
}
