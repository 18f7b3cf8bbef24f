package main

import (
	"bytes"
	"cmp"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fauxlet/internal/helptext"
)

// packaging/prepare.sh sets these flags. A test generates the files of a release, because only package main has the
// commands, and the program itself needs no manual pages.
var (
	releaseFiles   = flag.String("release-files", "", "folder in which the tests write completions and manual pages")
	releaseVersion = flag.String("release-version", "v0.0.0", "version in the manual pages")
	releaseDate    = flag.String("release-date", "2000-01-01", "date in the manual pages")
)

// releaseFolder returns a folder in the folder of -release-files.
func releaseFolder(t *testing.T, name string) string {
	folder := filepath.Join(cmp.Or(*releaseFiles, t.TempDir()), name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestReleaseCompletions writes the completion script of each shell, as "fauxlet completion" prints it.
func TestReleaseCompletions(t *testing.T) {
	folder := releaseFolder(t, "completions")
	root := newRoot()
	for file, write := range map[string]func(w io.Writer) error{
		"fauxlet.bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"_fauxlet":     root.GenZshCompletion,
		"fauxlet.fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
		"fauxlet.ps1":  root.GenPowerShellCompletionWithDesc,
	} {
		var script bytes.Buffer
		if err := write(&script); err != nil || script.Len() < 1000 {
			t.Errorf("%s has %d bytes: %v", file, script.Len(), err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), script.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReleaseManPages writes the manual page of each command, and checks that it has the parts of the command's help.
func TestReleaseManPages(t *testing.T) {
	folder := releaseFolder(t, "man")
	var write func(c *cobra.Command)
	write = func(c *cobra.Command) {
		var b bytes.Buffer
		helptext.WriteMan(&b, c, *releaseVersion, *releaseDate)
		if err := os.WriteFile(filepath.Join(folder, helptext.ManName(c)+".1"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		page := strings.ReplaceAll(b.String(), `\-`, "-")
		for _, want := range []string{".TH " + strings.ToUpper(helptext.ManName(c)) + " 1 ", *releaseVersion, c.Short,
			strings.Split(c.Example, "\n")[0]} {
			if !strings.Contains(page, strings.NewReplacer(`"`, `\(dq`, "'", `\(aq`).Replace(want)) {
				t.Errorf("the page of %s lacks %q", c.CommandPath(), want)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && !strings.Contains(page, `\fB--`+f.Name+`\fR`) {
				t.Errorf("the page of %s lacks the flag --%s", c.CommandPath(), f.Name)
			}
		})
		if codes := c.Annotations[helptext.ExitCodesKey]; (codes != "") != strings.Contains(page, ".SH EXIT STATUS\n") {
			t.Errorf("the page of %s and its exit codes: %q", c.CommandPath(), codes)
		}
		for _, line := range strings.Split(page, "\n") {
			if macro, ok := strings.CutPrefix(line, "."); ok && !strings.Contains(" TH SH B PP TP nf fi ",
				" "+strings.Fields(macro)[0]+" ") {
				t.Errorf("the page of %s has a text that is taken for a macro: %s", c.CommandPath(), line)
			}
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				write(sub)
			}
		}
	}
	write(newRoot())
}
