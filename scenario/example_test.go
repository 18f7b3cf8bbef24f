package scenario_test

import (
	"fmt"

	"fauxlet/scenario"
)

// Parse reads a Scenario: here one pod, whose container has logged a line and answers one command. A field that does
// not exist is an error.
func ExampleParse() {
	loaded, err := scenario.Parse([]byte(`
apiVersion: fauxlet/v1alpha1
kind: Scenario
pods:
- metadata: {namespace: shop, name: web}
  spec: {containers: [{name: nginx}]}
containers:
- namespace: shop
  pod: web
  log: {text: "GET / 200\n"}
  exec:
  - command: [nginx, -v]
    stdout: "nginx/1.29.3\n"
`), scenario.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(loaded.Pods[0].Namespace, loaded.Pods[0].Name)

	_, err = scenario.Parse([]byte("apiVersion: fauxlet/v1alpha1\nkind: Scenario\nretries: 3\n"), scenario.Options{})
	fmt.Println(err)
	// Output:
	// shop web
	// unknown field "retries"; correct the spelling or remove the field
}
