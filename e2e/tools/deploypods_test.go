package tools

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"

	"fauxlet/e2e/internal/controlplane"
	"fauxlet/e2e/internal/expect"
	"fauxlet/e2e/internal/programs"
)

// running is the container of a pod. The test starts the container as a kubelet would: with the user, arguments and
// environment of the pod spec, without privileges, and in a root folder in which only the volumes are writable.
type running struct {
	*programs.Process
	pod  *v1.Pod
	ip   string
	argv []string
}

// runPod waits until a pod of deploy/ exists, and runs the pod at an address in 127.10.250.0/24. The pod is stopped
// when the test ends.
func runPod(t testing.TB, c *controlplane.Plane, name, ip string) *running {
	t.Helper()
	r := &running{ip: ip}
	expect.Eventually(t, time.Minute, "pod "+name+" is created", func() string {
		var err error
		if r.pod, err = c.Client.CoreV1().Pods("fauxlet").Get(context.Background(), name,
			metav1.GetOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
	if len(r.pod.Spec.Containers) != 1 || len(r.pod.Spec.InitContainers) != 0 {
		t.Fatalf("pod %s has %+v", name, r.pod.Spec)
	}
	container, security := r.pod.Spec.Containers[0], r.pod.Spec.SecurityContext
	if readOnly := container.SecurityContext.ReadOnlyRootFilesystem; readOnly == nil || !*readOnly {
		t.Error("the root file system is writable")
	}
	root := t.TempDir()
	expect.NoError(t, os.Link(programs.Path(t, "fauxlet"), filepath.Join(root, "fauxlet")))
	for _, mount := range container.VolumeMounts {
		if mount.SubPath != "" || mount.SubPathExpr != "" {
			t.Fatalf("mount %s: this test does not support subPath", mount.Name)
		}
		dir := filepath.Join(root, mount.MountPath)
		expect.NoError(t, os.MkdirAll(dir, 0o755))
		fillVolume(t, c, r.pod, mount.Name, dir)
	}
	// Give the pod an address for kubernetes.default.svc, because no kube-proxy runs here. Each pod has a different
	// address.
	service := strings.Replace(ip, "127.10.250.", "127.10.251.", 1)
	expect.NoError(t, os.WriteFile(filepath.Join(root, "etc/hosts"), []byte(service+" kubernetes.default.svc\n"),
		0o644))
	serveAt(t, c, net.JoinHostPort(service, "443"))

	values := map[string]string{}
	var environment []string
	for _, e := range container.Env {
		value := e.Value
		if e.ValueFrom != nil {
			switch path := e.ValueFrom.FieldRef.FieldPath; path {
			case "metadata.name":
				value = name
			case "status.podIP":
				value = ip
			default:
				t.Fatalf("env %s: this test does not support %s", e.Name, path)
			}
		}
		values[e.Name] = value
		environment = append(environment, e.Name+"="+value)
	}
	args := []string{"/fauxlet"}
	for _, arg := range container.Args {
		args = append(args, expansion.Expand(arg, expansion.MappingFuncFor(values)))
	}
	r.argv = programs.Confined(t, root, *security.RunAsUser, *security.RunAsGroup, environment, args)
	r.start(t)
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
		r.LogOnFailure(t, 0)
	})
	return r
}

// start starts the container and waits until its readiness probe succeeds. After the container has ended, start can
// be called again.
func (r *running) start(t testing.TB) {
	t.Helper()
	var err error
	r.Process, err = programs.Start("fauxlet", r.argv[0], r.argv[1:]...)
	expect.NoError(t, err)
	container := r.pod.Spec.Containers[0]
	for _, probe := range []*v1.Probe{container.StartupProbe, container.ReadinessProbe, container.LivenessProbe} {
		port := 0
		for _, p := range container.Ports {
			if p.Name == probe.HTTPGet.Port.StrVal {
				port = int(p.ContainerPort)
			}
		}
		url := fmt.Sprintf("http://%s:%d%s", r.ip, port, probe.HTTPGet.Path)
		expect.Eventually(t, time.Duration(probe.PeriodSeconds*probe.FailureThreshold)*time.Second, url+" answers",
			func() string {
				select {
				case <-r.Ended:
					t.Fatalf("fauxlet has ended: %v\n%s", r.Err, r.Out.String())
				default:
				}
				answer, err := http.Get(url)
				if err != nil {
					return err.Error()
				}
				defer answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					return answer.Status
				}
				return ""
			})
	}
}

// fillVolume fills a volume of the pod as a kubelet does. The pod's group can read the files.
func fillVolume(t testing.TB, c *controlplane.Plane, pod *v1.Pod, name, dir string) {
	t.Helper()
	ctx, group := context.Background(), int(*pod.Spec.SecurityContext.FSGroup)
	write := func(file, content string, mode os.FileMode) {
		path := filepath.Join(dir, file)
		expect.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		expect.NoError(t, os.Chown(path, 0, group))
		expect.NoError(t, os.Chmod(path, mode))
	}
	configMap := func(name string, items []v1.KeyToPath) {
		var object *v1.ConfigMap
		expect.Eventually(t, time.Minute, "ConfigMap exists: "+name, func() string {
			var err error
			if object, err = c.Client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, name,
				metav1.GetOptions{}); err != nil {
				return err.Error()
			}
			return ""
		})
		for key, content := range object.Data {
			if len(items) == 0 || items[0].Key == key {
				write(key, content, 0o644)
			}
		}
	}
	for _, volume := range pod.Spec.Volumes {
		switch {
		case volume.Name != name:
		case volume.ConfigMap != nil:
			configMap(volume.ConfigMap.Name, volume.ConfigMap.Items)
		case volume.Secret != nil:
			secret, err := c.Client.CoreV1().Secrets(pod.Namespace).Get(ctx, volume.Secret.SecretName,
				metav1.GetOptions{})
			expect.NoError(t, err)
			for key, content := range secret.Data {
				write(key, string(content), os.FileMode(*volume.Secret.DefaultMode))
			}
		case volume.EmptyDir != nil:
			expect.NoError(t, os.Chown(dir, 0, group))
			expect.NoError(t, os.Chmod(dir, 0o770))
		case volume.Projected != nil:
			for _, source := range volume.Projected.Sources {
				switch {
				case source.ServiceAccountToken != nil:
					request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
						ExpirationSeconds: source.ServiceAccountToken.ExpirationSeconds,
						BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod",
							Name: pod.Name,
							UID:  pod.UID},
					}}
					made, err := c.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx,
						pod.Spec.ServiceAccountName,
						request, metav1.CreateOptions{})
					expect.NoError(t, err)
					write(source.ServiceAccountToken.Path, made.Status.Token, 0o640)
				case source.ConfigMap != nil:
					configMap(source.ConfigMap.Name, source.ConfigMap.Items)
				case source.DownwardAPI != nil:
					write("namespace", pod.Namespace, 0o644)
				}
			}
		default:
			t.Fatalf("volume %s: this test does not support its kind", name)
		}
	}
}

// serveAt forwards connections from an address to kube-apiserver until the test ends.
func serveAt(t testing.TB, c *controlplane.Plane, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	expect.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return // Accept fails when the test ends and closes the listener
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "https://"))
			if err != nil {
				_ = near.Close()
				continue
			}
			pass := func(from, to net.Conn) {
				_, _ = io.Copy(to, from)
				_, _ = near.Close(), far.Close()
			}
			go pass(near, far)
			go pass(far, near)
		}
	}()
}
