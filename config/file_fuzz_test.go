package config

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzConfigFile: any file and drop-in give an error or a configuration. Loading twice gives the same result, and so
// does loading the result as a file.
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
			t.Errorf("second load: %v", err)
		} else if diff := cmp.Diff(plain(t, c.Kubelet), plain(t, again.Kubelet)); diff != "" {
			t.Errorf("second load:\n%s", diff)
		}
		if body, err := c.Configz(); err != nil || !json.Valid(body) {
			t.Errorf("configz: %v %s", err, body)
		}

		// Paths of a drop-in stay relative, and JSON omits empty fields, whose defaults may differ.
		if dropIn != "" || len(c.Kubelet.EvictionHard) == 0 || len(c.Kubelet.EnforceNodeAllocatable) == 0 {
			return
		}
		whole, err := json.Marshal(c.Kubelet)
		if err != nil {
			t.Fatal(err)
		}
		writeFiles(t, dir, map[string]string{"kubelet.yaml": string(whole)})
		if again, err := load(); err != nil {
			t.Errorf("loading the result as a file: %v\n%s", err, whole)
		} else if diff := cmp.Diff(plain(t, c.Kubelet), plain(t, again.Kubelet)); diff != "" {
			t.Errorf("loading the result as a file:\n%s", diff)
		}
	})
}
