package server_test

import (
	"fmt"
	"io"
	"net/http/httptest"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/pods"
	"fauxlet/scenario"
	"fauxlet/server"
)

// This example serves a Server from an httptest.Server.
func Example() {
	// Without --config, the kubelet's older defaults apply: anonymous access is on, and the mode is AlwaysAllow.
	flags := config.NewFlags()
	if err := flags.Set("hostname-override", "node-1"); err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := flags.Load()
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := pods.NewStore(scenario.Pod{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"},
			Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "nginx"}}},
		},
		Containers: map[string]scenario.Container{
			"nginx": {Log: scenario.Log{Text: "GET / 200\nGET /favicon.ico 404\n"}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	decisions := make(chan *authchain.Decision, 1)
	standin, err := server.New(server.Options{Config: cfg, Pods: store,
		Observe: func(d *authchain.Decision) { decisions <- d }})
	if err != nil {
		fmt.Println(err)
		return
	}

	web := httptest.NewTLSServer(standin.Handler())
	defer web.Close()
	response, err := web.Client().Get(web.URL + "/containerLogs/default/nginx/nginx?tailLines=1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	fmt.Printf("%d %s", response.StatusCode, body)
	fmt.Println((<-decisions).Why())
	// Output:
	// 200 GET /favicon.ico 404
	// allowed: user "system:anonymous" may get nodes/proxy
}
