package authchain_test

import (
	"fmt"
	"net/http/httptest"

	"fauxlet/authchain"
)

func Example() {
	chain, err := authchain.New(authchain.Config{NodeName: "node-1", Anonymous: true, Mode: authchain.AlwaysAllow})
	if err != nil {
		fmt.Println(err)
		return
	}
	decision, err := chain.Decide(httptest.NewRequest("GET", "/containerLogs/default/nginx/nginx", nil))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(decision.Why())
	for _, step := range decision.Authentication {
		fmt.Printf("%s: %s\n", step.Method, step.Outcome)
	}
	// Output:
	// allowed: user "system:anonymous" may get nodes/proxy
	// x509: skipped
	// anonymous: authenticated
}
