package config

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzConfigFile: whatever stands in a configuration file and in a drop-in, it is an error or a configuration; the same
// one each time; and one that, written into a file, is read again as it is.
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
			t.Errorf("the second time: %v", err)
		} else if diff := cmp.Diff(plain(t, c.Kubelet), plain(t, again.Kubelet)); diff != "" {
			t.Errorf("the second time:\n%s", diff)
		}
		if body, err := c.Configz(); err != nil || !json.Valid(body) {
			t.Errorf("configz: %v %s", err, body)
		}

		// A drop-in's paths stay relative, and JSON leaves out what is empty, where the default is another.
		if dropIn != "" || len(c.Kubelet.EvictionHard) == 0 || len(c.Kubelet.EnforceNodeAllocatable) == 0 {
			return
		}
		whole, err := json.Marshal(c.Kubelet)
		if err != nil {
			t.Fatal(err)
		}
		writeFiles(t, dir, map[string]string{"kubelet.yaml": string(whole)})
		if again, err := load(); err != nil {
			t.Errorf("written into a file: %v\n%s", err, whole)
		} else if diff := cmp.Diff(plain(t, c.Kubelet), plain(t, again.Kubelet)); diff != "" {
			t.Errorf("written into a file:\n%s", diff)
		}
	})
}
