package config

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzConfigFile checks that, for any file and drop-in, Load returns an error or a configuration and never panics. If
// Load returns a configuration, two more calls must return the same configuration: one that loads the same files again,
// and one that loads the returned configuration as a file.
func FuzzConfigFile(f *testing.F) {
	text, err := os.ReadFile("testdata/loads.json")
	if err != nil {
		f.Fatal(err)
	}
	var cases []measuredLoad
	if err := json.Unmarshal(text, &cases); err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		if file, ok := c.Files["kubelet.yaml"]; ok {
			f.Add(file, c.Files["conf/1.conf"], "")
		}
	}
	f.Add(cases[1].Files["kubelet.yaml"], "", "AllAlpha=true,NodeLogQuery=false")
	f.Fuzz(func(t *testing.T, file, dropIn, gates string) {
		dir := t.TempDir()
		t.Chdir(dir)
		args := []string{"--config=kubelet.yaml", "--hostname-override=node-1"}
		files := map[string]string{"kubelet.yaml": file}
		if dropIn != "" {
			files["conf/1.conf"] = dropIn
			args = append(args, "--config-dir=conf")
		}
		if gates != "" {
			args = append(args, "--feature-gates="+gates)
		}
		writeFiles(t, dir, files)
		load := func() (*Config, error) {
			flags, err := parse(args)
			if err != nil {
				return nil, err
			}
			return flags.Load()
		}

		c, err := load()
		if err != nil {
			return
		}
		if again, err := load(); err != nil {
			t.Errorf("loading the same files again failed: %v", err)
		} else if diff := cmp.Diff(plain(t, c.Kubelet), plain(t, again.Kubelet)); diff != "" {
			t.Errorf("loading the same files again gives another configuration (-first +second):\n%s", diff)
		}
		if body, err := c.Configz(); err != nil || !json.Valid(body) {
			t.Errorf("Configz returned the error %v or invalid JSON: %s", err, body)
		}

		// In two cases, the effective configuration changes when it is written to a file and loaded again. Relative
		// paths from a drop-in become absolute. Empty fields get defaults, because JSON omits empty fields.
		if dropIn != "" || len(c.Kubelet.EvictionHard) == 0 || len(c.Kubelet.EnforceNodeAllocatable) == 0 {
			return
		}
		whole, err := json.Marshal(c.Kubelet)
		if err != nil {
			t.Fatal(err)
		}
		writeFiles(t, dir, map[string]string{"kubelet.yaml": string(whole)})
		if again, err := load(); err != nil {
			t.Errorf("loading the effective configuration as a file failed: %v\n%s", err, whole)
		} else if diff := cmp.Diff(plain(t, c.Kubelet), plain(t, again.Kubelet)); diff != "" {
			t.Errorf("loading the effective configuration as a file changes it (-first +second):\n%s", diff)
		}
	})
}
