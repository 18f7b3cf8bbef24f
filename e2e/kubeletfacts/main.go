// Command kubeletfacts prints facts about the kubelet of the required k8s.io/kubernetes version as JSON: its flags,
// the configuration field that each flag sets, the defaults and the feature gates. Package config embeds this
// output, so that it behaves like the kubelet without linking the kubelet's code. TestCommittedFactsAreTheKubelets
// fails if the embedded output is out of date.
//
// From the folder of this module:
//
//	go run ./kubeletfacts facts > ../config/kubelet.json
//	go run ./kubeletfacts loads > ../config/testdata/loads.json
//
// Built with the tag "older", from the modules of an older version, it prints the same facts about the kubelet of that
// version. "make record" writes them to config/testdata/older.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	_ "k8s.io/component-base/logs/json/register" // register the log formats that the kubelet supports
)

func main() {
	if args, ok := os.LookupEnv(childArgs); ok {
		runChild(args)
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kubeletfacts:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("got %d arguments, want one: \"facts\" or \"loads\"", len(args))
	}
	var (
		out any
		err error
	)
	switch args[0] {
	case "facts":
		out, err = measureFacts()
	case "loads":
		out, err = measureLoads()
	default:
		return fmt.Errorf("argument %q: must be \"facts\" or \"loads\"", args[0])
	}
	if err != nil {
		return err
	}
	text, err := encode(out)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

// encode returns a value as JSON, indented like the committed files.
func encode(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
