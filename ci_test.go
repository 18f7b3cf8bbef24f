package fauxlet_test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// readYAML decodes YAML. Unknown fields are allowed, because the tests look only at some of them.
func readYAML(t *testing.T, text string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestWorkflowsAreRestricted checks that each workflow may only read the repository unless a job states more, that each
// job has a time limit, and that other repositories' actions are pinned to a commit.
func TestWorkflowsAreRestricted(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(".github/workflows/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 3 {
		t.Errorf("only %d workflows: %q", len(files), files)
	}
	for _, file := range files {
		var workflow struct {
			Permissions map[string]string
			Concurrency map[string]any
			Jobs        map[string]struct {
				Timeout int `json:"timeout-minutes"`
			}
		}
		readYAML(t, readFile(t, file), &workflow)
		if !maps.Equal(workflow.Permissions, map[string]string{"contents": "read"}) {
			t.Errorf("%s: permissions %v, want only contents: read", file, workflow.Permissions)
		}
		if workflow.Concurrency == nil {
			t.Errorf("%s: no concurrency group", file)
		}
		for name, job := range workflow.Jobs {
			if job.Timeout == 0 {
				t.Errorf("%s: job %s has no timeout-minutes", file, name)
			}
		}
	}
	pinned := regexp.MustCompile(`^(\./|[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)`)
	for _, file := range append(files, "action.yaml") {
		for _, line := range strings.Split(readFile(t, file), "\n") {
			if _, uses, found := strings.Cut(line, "uses: "); found && !pinned.MatchString(uses) {
				t.Errorf("%s: %q is not pinned to a commit with its version in a comment", file, uses)
			}
		}
	}
}

// TestAction compares the inputs of action.yaml with the variables of its script and with the table in docs/ci.md.
func TestAction(t *testing.T) {
	t.Parallel()
	var action struct {
		Inputs, Outputs map[string]any
		Runs            struct {
			Steps []struct {
				ID, Run string
				Env     map[string]string
			}
		}
	}
	readYAML(t, readFile(t, "action.yaml"), &action)
	page, script := readFile(t, "docs/ci.md"), readFile(t, ".github/action/check.sh")
	steps := action.Runs.Steps
	env := steps[len(steps)-1].Env
	for name := range action.Inputs {
		if !strings.Contains(page, "| `"+name+"` |") {
			t.Errorf("docs/ci.md does not list the input %s", name)
		}
		used := func(value string) bool { return strings.Contains(value, "inputs."+name) }
		if !slices.ContainsFunc(slices.Collect(maps.Values(env)), used) {
			t.Errorf("the last step does not pass the input %s to the script", name)
		}
	}
	for name := range action.Outputs {
		if !strings.Contains(page, "| `"+name+"` |") || !strings.Contains(script, name+"=%s") {
			t.Errorf("docs/ci.md or the script lacks the output %s", name)
		}
	}
	for name := range env {
		if !strings.Contains(script, "{"+name+":-") {
			t.Errorf("the script does not read %s", name)
		}
	}
	for _, step := range steps {
		// An expression in a script would be replaced by the input's text, which the shell would then run.
		if strings.Contains(step.Run, "${{") {
			t.Errorf("the script of step %q contains an expression: %s", step.ID, step.Run)
		}
	}
}

// TestCIPage parses the YAML in docs/ci.md, and checks that its jobs name existing inputs and flags.
func TestCIPage(t *testing.T) {
	t.Parallel()
	var action struct{ Inputs map[string]any }
	readYAML(t, readFile(t, "action.yaml"), &action)
	workflows, pipelines := 0, 0
	for _, block := range strings.Split(readFile(t, "docs/ci.md"), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		var document struct {
			Jobs map[string]struct {
				Steps []struct {
					Uses string
					With map[string]any
				}
			}
			Job struct {
				Script    []string
				Artifacts struct {
					Reports struct{ JUnit string }
				}
			} `json:"fauxlet-check"`
		}
		readYAML(t, block, &document)
		for _, job := range document.Jobs {
			for _, step := range job.Steps {
				if !strings.HasPrefix(step.Uses, "OWNER/fauxlet@") {
					continue
				}
				workflows++
				for name := range step.With {
					if _, ok := action.Inputs[name]; !ok {
						t.Errorf("docs/ci.md sets the input %s, which action.yaml does not have", name)
					}
				}
			}
		}
		if job := document.Job; len(job.Script) > 0 {
			pipelines++
			if report := job.Artifacts.Reports.JUnit; report == "" ||
				!strings.Contains(strings.Join(job.Script, "\n"), "> "+report) {
				t.Errorf("docs/ci.md: the job of GitLab does not write its report %q: %q", report, job.Script)
			}
		}
	}
	if workflows == 0 || pipelines == 0 {
		t.Errorf("docs/ci.md has %d workflows of GitHub and %d pipelines of GitLab, want at least one of each",
			workflows, pipelines)
	}
}

// TestReleaseArchives checks that the release has the archives that the templates for krew and Homebrew name, and that
// packaging/notices collects the licenses of all its platforms.
func TestReleaseArchives(t *testing.T) {
	t.Parallel()
	var release struct {
		Builds   []struct{ Goos, Goarch []string }
		Archives []struct {
			NameTemplate string `json:"name_template"`
			Formats      []string
			Overrides    []struct {
				Goos    string
				Formats []string
			} `json:"format_overrides"`
		}
	}
	readYAML(t, readFile(t, ".goreleaser.yaml"), &release)
	if len(release.Builds) != 1 || len(release.Archives) != 1 {
		t.Fatalf(".goreleaser.yaml: %+v, want one build and one archive", release)
	}
	archive := release.Archives[0]
	formats := func(goos string) []string {
		for _, override := range archive.Overrides {
			if override.Goos == goos {
				return override.Formats
			}
		}
		return archive.Formats
	}
	built, notices := map[string]bool{}, readFile(t, "packaging/notices/main.go")
	for _, goos := range release.Builds[0].Goos {
		for _, goarch := range release.Builds[0].Goarch {
			for _, format := range formats(goos) {
				name := strings.NewReplacer("v{{ .Version }}", "VERSION", "{{ .Os }}", goos, "{{ .Arch }}", goarch).
					Replace(archive.NameTemplate)
				built[name+"."+format] = true
			}
			if !strings.Contains(notices, `"`+goos+"/"+goarch+`"`) {
				t.Errorf("packaging/notices lacks the platform %s/%s of .goreleaser.yaml", goos, goarch)
			}
		}
	}
	named := regexp.MustCompile(`fauxlet_VERSION_\w+\.[a-z.]+`)
	for _, template := range []string{"packaging/krew/fauxlet.yaml", "packaging/homebrew/fauxlet.rb"} {
		names := named.FindAllString(readFile(t, template), -1)
		if len(names) < 4 {
			t.Errorf("%s names only the archives %q", template, names)
		}
		for _, name := range names {
			if !built[name] {
				t.Errorf("%s names %s, which .goreleaser.yaml does not build", template, name)
			}
		}
	}
}

// TestReleaseArguments checks that make release refuses a version and a platform that are mistyped.
func TestReleaseArguments(t *testing.T) {
	t.Parallel()
	for argument, want := range map[string]string{
		"VERSION=0.1.0":         "VERSION: \"0.1.0\" is not a version such as v0.1.0",
		"VERSION=v0.1":          "VERSION: \"v0.1\" is not",
		"VERSION=":              "VERSION: \"\" is not",
		"PLATFORM=linux":        "PLATFORM: \"linux\" is not a platform such as linux/amd64",
		"PLATFORM=linux/amd64/": "PLATFORM: \"linux/amd64/\" is not",
	} {
		out, err := exec.Command("make", "release", argument).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "make release: "+want) {
			t.Errorf("make release %s: %v, %s", argument, err, out)
		}
	}
}

// TestPackagingTemplates fills the templates for krew and Homebrew, as "make packaging" does, and compares the results
// with the archives. It does not build the archives: any files will do.
func TestPackagingTemplates(t *testing.T) {
	t.Parallel()
	const owner, version = "some-owner", "v1.2.3-rc.1"
	dir := t.TempDir()
	fill := func(args ...string) (string, error) {
		out, err := exec.Command("bash", append([]string{"packaging/fill.sh"}, args...)...).CombinedOutput()
		return string(out), err
	}
	platforms := []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64", "windows_amd64"}
	sums := map[string]string{}
	for _, platform := range platforms {
		archive := "fauxlet_" + version + "_" + platform + ".tar.gz"
		if out, err := fill(owner, version, dir); err == nil || !strings.Contains(out, " is missing; build the archives") {
			t.Errorf("without %s: %v, %s", archive, err, out)
		}
		if err := os.WriteFile(filepath.Join(dir, archive), []byte(platform), 0o644); err != nil {
			t.Fatal(err)
		}
		sums["https://github.com/"+owner+"/fauxlet/releases/download/"+version+"/"+archive] =
			fmt.Sprintf("%x", sha256.Sum256([]byte(platform)))
	}
	if out, err := fill(owner, version, dir); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	placeholder := regexp.MustCompile(`OWNER|VERSION|SHA256|template`)
	manifest, formula := readFile(t, dir+"/krew/fauxlet.yaml"), readFile(t, dir+"/homebrew/fauxlet.rb")
	for _, text := range []string{manifest, formula} {
		if left := placeholder.FindString(text); left != "" {
			t.Errorf("%s is left in\n%s", left, text)
		}
	}
	var plugin struct {
		Metadata struct{ Name string }
		Spec     struct {
			Version   string
			Platforms []struct{ URI, SHA256 string }
		}
	}
	readYAML(t, manifest, &plugin)
	got := map[string]string{}
	for _, platform := range plugin.Spec.Platforms {
		got[platform.URI] = platform.SHA256
	}
	if plugin.Metadata.Name != "fauxlet" || plugin.Spec.Version != version || !maps.Equal(got, sums) {
		t.Errorf("the manifest is for %s %s, with the archives %v, want %v", plugin.Metadata.Name,
			plugin.Spec.Version, got, sums)
	}
	archives := regexp.MustCompile(`url "(.*)"\n\s+sha256 "(.*)"`).FindAllStringSubmatch(formula, -1)
	if len(archives) != 4 {
		t.Errorf("the formula has %d archives, want 4", len(archives))
	}
	for _, archive := range archives {
		if sums[archive[1]] != archive[2] {
			t.Errorf("the formula has the checksum %s for %s, want %s", archive[2], archive[1], sums[archive[1]])
		}
	}
	for _, invalid := range [][]string{{}, {"a/b", version, dir}, {owner, "1.2.3", dir}, {owner, "v1.2.3/..", dir},
		{owner, version, filepath.Join(dir, "missing")}} {
		if out, err := fill(invalid...); err == nil || !strings.HasPrefix(out, "fill.sh: ") {
			t.Errorf("fill.sh %q: %v, %s", invalid, err, out)
		}
	}
}
