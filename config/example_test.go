package config_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"fauxlet/config"
)

// If a configuration file is given, the v1beta1 defaults apply. A flag overrides the file.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "kubelet.yaml")
	text := `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
port: 10350
authentication: {x509: {clientCAFile: /pki/ca.crt}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		panic(err)
	}

	for _, args := range [][]string{
		{"--hostname-override=node-1"},
		{"--hostname-override=node-1", "--config=" + file, "--port=10450", "--max-open-files=5"},
	} {
		fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		fs.SetOutput(io.Discard) // hides the warnings about deprecated flags
		flags := config.NewFlags()
		flags.AddTo(fs)
		if err := fs.Parse(args); err != nil {
			fmt.Println(config.FlagError(err))
			return
		}
		c, err := flags.Load()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(c.NodeName, c.Kubelet.Port, c.Kubelet.ReadOnlyPort, c.Kubelet.Authorization.Mode,
			*c.Kubelet.Authentication.Anonymous.Enabled, c.Ignored)
	}
	// Output:
	// node-1 10250 10255 AlwaysAllow true []
	// node-1 10450 0 Webhook false [max-open-files]
}
