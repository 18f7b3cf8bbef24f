// Package guide runs the commands on the pages in docs/, to prove that the commands work.
package guide

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// Guide runs the commands of one page of docs/ in a folder.
type Guide struct {
	page, text, Dir string
	Env             []string
}

// New reads a page. The commands of the page run in dir, with the named programs on the PATH. Programs started by
// the commands are killed when the test binary ends.
func New(t testing.TB, page, dir string, names ...string) *Guide {
	t.Helper()
	g := &Guide{page: page, text: expect.File(t, filepath.Join(programs.Repository(), "docs", page)), Dir: dir}
	bin := t.TempDir()
	for _, name := range names {
		script := fmt.Sprintf("#!/bin/sh\nexec setpriv --pdeathsig KILL %s \"$@\"\n", programs.Path(t, name))
		expect.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755))
	}
	g.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + programs.Scratch}
	return g
}

// Block returns the first code block with the given language under the given heading. The parameter "language" is the
// word after the opening fence, such as sh. If the heading is empty, Block searches the part of the page before the
// first heading of level 2.
func (g *Guide) Block(t testing.TB, heading, language string) string {
	t.Helper()
	return g.Blocks(t, heading, language)[0]
}

// Blocks is like Block, but returns all matching code blocks. It ends the test if there are none.
func (g *Guide) Blocks(t testing.TB, heading, language string) (blocks []string) {
	t.Helper()
	section := g.text
	if heading != "" {
		_, section, _ = strings.Cut(section, "\n## "+heading+"\n")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, part := range strings.Split(section, "```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if blocks == nil {
		t.Fatalf("docs/%s has no code block with the language %q under the heading %q", g.page, language, heading)
	}
	return blocks
}

// Run runs the commands of the first sh code block under a heading. They must succeed.
func (g *Guide) Run(t testing.TB, heading string, env ...string) programs.Result {
	t.Helper()
	return g.Runs(t, g.Block(t, heading, "sh"), env...)
}

// Runs runs the given shell commands, which the caller has taken from the page. They must succeed.
func (g *Guide) Runs(t testing.TB, commands string, env ...string) programs.Result {
	t.Helper()
	cmd := exec.Command("bash", "-eux", "-c", commands)
	cmd.Dir, cmd.Env = g.Dir, append(slices.Clone(g.Env), env...)
	got := programs.Run(t, cmd)
	if got.Status != 0 {
		t.Fatalf("docs/%s: the commands %q failed: %+v", g.page, commands, got)
	}
	return got
}

// Start starts commands of the page that run until the test ends.
func (g *Guide) Start(t testing.TB, commands string) *programs.Process {
	t.Helper()
	argv := slices.Concat([]string{"-i"}, g.Env, []string{"bash", "-eux", "-c", "cd " + g.Dir + "\n" + commands})
	p, err := programs.Start("bash", "env", argv...)
	expect.NoError(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		p.LogOnFailure(t, 0)
	})
	return p
}
