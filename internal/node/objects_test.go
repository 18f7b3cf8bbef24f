package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"fauxlet/internal/pods"
	"fauxlet/internal/shell"
	"fauxlet/scenario"
)

// secretText is the beginning of all secret values and tokens in these tests. No log may contain it.
const secretText = "s3cret"

// objectsFixture is a store with one pod, whose objects come from a fake clientset.
type objectsFixture struct {
	t      *testing.T
	client *fake.Clientset
	store  *pods.Store
	pod    *v1.Pod
	log    *observer.ObservedLogs
	tokens []authenticationv1.TokenRequest // that were requested
}

func newObjectsFixture(t *testing.T, pod *v1.Pod, existing ...runtime.Object) *objectsFixture {
	f := &objectsFixture{t: t, client: fake.NewClientset(existing...), pod: pod}
	f.react("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
		request := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
		f.tokens = append(f.tokens, *request)
		request.Status.Token = fmt.Sprintf("%s-token-%d", secretText, len(f.tokens))
		request.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(
			time.Duration(*request.Spec.ExpirationSeconds) * time.Second))
		return true, request, nil
	})
	core, log := observer.New(zapcore.DebugLevel)
	f.log = log
	var err error
	if f.store, err = pods.NewStoreWith(shell.Executor{}); err != nil {
		t.Fatal(err)
	}
	m := &member{description: &description{name: "node-1"},
		fleet: &Fleet{options: Options{Client: f.client, Logger: zap.New(core)}}}
	f.store.SetObjects(objects{m}, time.Minute)
	f.put()
	return f
}

// react makes a function answer requests of the fake clientset, before all earlier functions.
func (f *objectsFixture) react(verb, resource string,
	answer func(clienttesting.Action) (bool, runtime.Object, error)) {
	f.client.PrependReactor(verb, resource, answer)
}

func (f *objectsFixture) put() {
	f.t.Helper()
	f.pod = f.pod.DeepCopy()
	f.pod.Status.ContainerStatuses = nil
	for _, c := range f.pod.Spec.Containers {
		f.pod.Status.ContainerStatuses = append(f.pod.Status.ContainerStatuses, v1.ContainerStatus{Name: c.Name,
			ContainerID: "fauxlet://" + c.Name, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}})
	}
	if err := f.store.Put(scenario.Pod{Pod: f.pod}); err != nil {
		f.t.Fatal(err)
	}
}

// sh runs a script in a container and returns its output.
func (f *objectsFixture) sh(container, script string) string {
	f.t.Helper()
	var out bytes.Buffer
	if err := f.store.Exec(f.t.Context(), f.pod.Namespace, f.pod.Name, container, []string{"sh", "-c", script},
		pods.Streams{Stdout: &out, Stderr: &out}); err != nil {
		f.t.Errorf("%s: %v", script, err)
	}
	return out.String()
}

func (f *objectsFixture) wants(container, script, output string) {
	f.t.Helper()
	if got := f.sh(container, script); got != output {
		f.t.Errorf("%s:\n got %q\nwant %q", script, got, output)
	}
}

// requests returns the requests since the last call.
func (f *objectsFixture) requests() []string {
	var all []string
	for _, action := range f.client.Actions() {
		all = append(all, action.GetVerb()+" "+action.GetResource().Resource)
	}
	f.client.ClearActions()
	slices.Sort(all)
	return slices.Compact(all)
}

func (f *objectsFixture) warnings() []string {
	f.t.Helper()
	var all []string
	for _, entry := range f.log.TakeAll() {
		text := fmt.Sprint(entry.Message, entry.ContextMap())
		if strings.Contains(text, secretText) {
			f.t.Errorf("a log line with a secret: %s", text)
		}
		of := entry.ContextMap()
		all = append(all, strings.TrimSuffix(fmt.Sprintf("%v: %v %v", of["object"], of["reason"], of["permission"]),
			" <nil>"))
	}
	return all
}

func objectMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "default", Name: name}
}

// clusterObjects are the objects to which volumesPod refers.
func clusterObjects() []runtime.Object {
	service := func(name, ip string, ports ...v1.ServicePort) *v1.Service {
		return &v1.Service{ObjectMeta: objectMeta(name), Spec: v1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	return []runtime.Object{
		&v1.ConfigMap{ObjectMeta: objectMeta("settings"), Data: map[string]string{"color": "blue", "size": "9"},
			BinaryData: map[string][]byte{"bin": {0, 1}}},
		&v1.Secret{ObjectMeta: objectMeta("db"), Data: map[string][]byte{"password": []byte(secretText + "-pw"),
			"nul": []byte("a\x00b")}},
		service("kubernetes", "10.0.0.1", v1.ServicePort{Name: "https", Port: 443, Protocol: v1.ProtocolTCP}),
		service("my-db", "10.0.0.9", v1.ServicePort{Name: "sql", Port: 5432}, v1.ServicePort{Name: "dns", Port: 53,
			Protocol: v1.ProtocolUDP}),
		service("headless", v1.ClusterIPNone, v1.ServicePort{Port: 80}),
	}
}

func localName(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }

// volumesPod returns a pod that has all kinds of volumes and variables that refer to objects.
func volumesPod() *v1.Pod {
	variable := func(name string, from v1.EnvVarSource) v1.EnvVar { return v1.EnvVar{Name: name, ValueFrom: &from} }
	field := func(path string) *v1.ObjectFieldSelector { return &v1.ObjectFieldSelector{FieldPath: path} }
	ofConfig := func(name, key string, optional bool) *v1.ConfigMapKeySelector {
		return &v1.ConfigMapKeySelector{LocalObjectReference: localName(name), Key: key, Optional: &optional}
	}
	ofSecret := func(name, key string, optional bool) *v1.SecretKeySelector {
		return &v1.SecretKeySelector{LocalObjectReference: localName(name), Key: key, Optional: &optional}
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-1",
		Labels: map[string]string{"app": "web", "tier": "front"}}}
	pod.Spec = v1.PodSpec{ServiceAccountName: "robot", EnableServiceLinks: ptr.To(false)}
	pod.Spec.Containers = []v1.Container{{
		Name: "app",
		EnvFrom: []v1.EnvFromSource{
			{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: localName("settings")}},
			{Prefix: "DB_", SecretRef: &v1.SecretEnvSource{LocalObjectReference: localName("db")}},
			{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: localName("none"), Optional: ptr.To(true)}},
		},
		Env: []v1.EnvVar{
			variable("COLOR", v1.EnvVarSource{ConfigMapKeyRef: ofConfig("settings", "color", false)}),
			variable("PASSWORD", v1.EnvVarSource{SecretKeyRef: ofSecret("db", "password", false)}),
			variable("OPTIONAL", v1.EnvVarSource{SecretKeyRef: ofSecret("db", "nokey", true)}),
			variable("OPTIONAL2", v1.EnvVarSource{ConfigMapKeyRef: ofConfig("none", "nokey", true)}),
			{Name: "BOTH", Value: "$(COLOR)-$(size)-$(KUBERNETES_SERVICE_HOST)"},
			{Name: "size", Value: "10"},
		},
		VolumeMounts: []v1.VolumeMount{
			{Name: "config", MountPath: "/config"},
			{Name: "config", MountPath: "/one.txt", SubPath: "color"},
			{Name: "items", MountPath: "/items"},
			{Name: "secret", MountPath: "/secret"},
			{Name: "fields", MountPath: "/fields"},
			{Name: "all", MountPath: "/all", ReadOnly: true},
			{Name: "scratch", MountPath: "/scratch"},
			{Name: "scratch", MountPath: "/mine", SubPathExpr: "$(COLOR)"},
			{Name: "host", MountPath: "/host"},
			{Name: "optional", MountPath: "/optional"},
		},
	}, {Name: "other", VolumeMounts: []v1.VolumeMount{{Name: "scratch", MountPath: "/data"}}}}
	pod.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")}
	item := func(key, path string, mode *int32) []v1.KeyToPath {
		return []v1.KeyToPath{{Key: key, Path: path, Mode: mode}}
	}
	fields := []v1.DownwardAPIVolumeFile{
		{Path: "labels", FieldRef: field("metadata.labels")}, {Path: "name", FieldRef: field("metadata.name")},
		{Path: "cpu", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "app", Resource: "limits.cpu"}}}
	add := func(name string, source v1.VolumeSource) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, v1.Volume{Name: name, VolumeSource: source})
	}
	add("config", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: localName("settings"),
		DefaultMode: ptr.To[int32](0o600)}})
	add("items", v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: localName("settings"),
		Items: item("size", "deep/size.txt", ptr.To[int32](0o400))}})
	add("secret", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "db", Optional: ptr.To(true),
		Items: append(item("password", "pw", nil), item("nokey", "nokey", nil)...)}})
	add("fields", v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: fields}})
	add("all", v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "vault",
			ExpirationSeconds: ptr.To[int64](1000)}},
		{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: localName("settings"),
			Items: item("color", "c", nil)}},
		{Secret: &v1.SecretProjection{LocalObjectReference: localName("db"), Items: item("password", "p", nil)}},
		{DownwardAPI: &v1.DownwardAPIProjection{Items: fields[1:2]}},
	}}})
	add("scratch", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}})
	add("host", v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: "/etc"}})
	add("optional", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "none", Optional: ptr.To(true)}})
	return pod
}

func TestPodVolumesAndVariables(t *testing.T) {
	f := newObjectsFixture(t, volumesPod(), clusterObjects()...)
	if got := f.requests(); got != nil {
		t.Errorf("requests before the first command: %v", got)
	}
	f.wants("app", "cat /config/color /config/size /one.txt; wc -c < /config/bin", "blue9blue2\n")
	if got := fmt.Sprint(f.requests()); got != "[create serviceaccounts get configmaps get secrets get services]" {
		t.Errorf("requests for the first command: %s", got)
	}
	f.wants("app", "cat /items/deep/size.txt; cat /secret/pw; ls /secret /optional",
		"9"+secretText+"-pw"+"/secret:\npw\n\n/optional:\n")
	f.wants("app", `cat /fields/labels; echo; cat /fields/name /fields/cpu`, "app=\"web\"\ntier=\"front\"\nweb2")
	f.wants("app", "cd /all; ls; cat token c p name",
		"c\nname\np\ntoken\n"+secretText+"-token-1blue"+secretText+"-pwweb")
	f.wants("app", "echo x > /all/c; echo x > /scratch/f; ls -d /host || true",
		"sh: can't create /all/c: Read-only file system\nls: /host: No such file or directory\n")
	f.wants("other", "cat /data/f; ls /data; echo y > /data/blue/g", "x\nblue\nf\n")
	f.wants("app", "cat /mine/g", "y\n")
	f.wants("app", `echo "$COLOR $PASSWORD $color $DB_password ${OPTIONAL-unset} ${OPTIONAL2-unset} $size $BOTH"`,
		"blue "+secretText+"-pw blue "+secretText+"-pw unset unset 10 blue-9-10.0.0.1\n")
	f.wants("app", "env | grep -E 'MY_DB|DB_nul|bin='; env | grep KUBERNETES | sort",
		"KUBERNETES_PORT=tcp://10.0.0.1:443\nKUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443\n"+
			"KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1\nKUBERNETES_PORT_443_TCP_PORT=443\n"+
			"KUBERNETES_PORT_443_TCP_PROTO=tcp\nKUBERNETES_SERVICE_HOST=10.0.0.1\nKUBERNETES_SERVICE_PORT=443\n"+
			"KUBERNETES_SERVICE_PORT_HTTPS=443\n")
	if got := f.requests(); fmt.Sprint(got) != "[get services]" { // of the other container
		t.Errorf("requests within a minute: %v", got)
	}
	if got := f.tokens[0].Spec; len(f.tokens) != 1 || got.Audiences[0] != "vault" || *got.ExpirationSeconds != 1000 ||
		*got.BoundObjectRef != (authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "web",
			UID: "uid-1"}) {
		t.Errorf("%d token requests, the first for %+v", len(f.tokens), got)
	}
	if got := f.warnings(); got != nil {
		t.Errorf("warnings %q", got)
	}
}

func TestServiceLinks(t *testing.T) {
	pod := volumesPod()
	pod.Spec.EnableServiceLinks = nil
	f := newObjectsFixture(t, pod, clusterObjects()...)
	f.wants("other", "env | grep -E 'MY_DB|HEADLESS|SERVICE_HOST' | sort", "KUBERNETES_SERVICE_HOST=10.0.0.1\n"+
		"MY_DB_PORT=tcp://10.0.0.9:5432\nMY_DB_PORT_53_UDP=udp://10.0.0.9:53\nMY_DB_PORT_53_UDP_ADDR=10.0.0.9\n"+
		"MY_DB_PORT_53_UDP_PORT=53\nMY_DB_PORT_53_UDP_PROTO=udp\nMY_DB_PORT_5432_TCP=tcp://10.0.0.9:5432\n"+
		"MY_DB_PORT_5432_TCP_ADDR=10.0.0.9\nMY_DB_PORT_5432_TCP_PORT=5432\nMY_DB_PORT_5432_TCP_PROTO=tcp\n"+
		"MY_DB_SERVICE_HOST=10.0.0.9\nMY_DB_SERVICE_PORT=5432\nMY_DB_SERVICE_PORT_DNS=53\n"+
		"MY_DB_SERVICE_PORT_SQL=5432\n")
}

// TestFileModes checks the modes and owners of files in volumes: defaultMode, the mode of an item, fsGroup, and tokens.
func TestFileModes(t *testing.T) {
	for _, test := range []struct {
		name          string
		user, fsGroup *int64
		want          string
	}{
		{name: "default",
			want: "-rw------- root root\n-r-------- root root\n-rw-r--r-- root root\n-rw-r--r-- root root\n"},
		{name: "one user", user: ptr.To[int64](1000),
			want: "-rw------- root root\n-r-------- root root\n-rw-r--r-- root root\n-rw------- 1000 root\n"},
		{name: "fsGroup", fsGroup: ptr.To[int64](2000),
			want: "-rw-r----- root 2000\n-r--r----- root 2000\n-rw-r--r-- root 2000\n-rw-r----- root 2000\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := volumesPod()
			pod.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: test.user, FSGroup: test.fsGroup}
			f := newObjectsFixture(t, pod, clusterObjects()...)
			f.wants("app", "for f in /config/..data/color /items/..data/deep/size.txt /all/..data/c "+
				"/all/..data/token; do ls -l $f | sed 's/  */ /g' | cut -d ' ' -f 1,3,4; done", test.want)
		})
	}
}

// TestTokenIsRenewed checks that a token is renewed after 80 % of its life, and that the old token stays if that fails.
func TestTokenIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newObjectsFixture(t, volumesPod(), clusterObjects()...)
		wants := func(number int) {
			t.Helper()
			f.wants("app", "cat /all/token", fmt.Sprintf("%s-token-%d", secretText, number))
		}
		wants(1)
		time.Sleep(790 * time.Second)
		wants(1)
		time.Sleep(60 * time.Second)
		wants(2)
		fails := true
		f.react("create", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
			return fails, nil, errors.New("unavailable: " + secretText)
		})
		time.Sleep(900 * time.Second)
		wants(2)
		fails = false
		time.Sleep(60 * time.Second)
		wants(3)
	})
}

// TestObjectsThatCannotBeRead checks what a pod lacks, and that each object is logged once.
func TestObjectsThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := volumesPod()
		noKey := &v1.ConfigMapKeySelector{LocalObjectReference: localName("settings"), Key: "nokey"}
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env,
			v1.EnvVar{Name: "NOKEY", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: noKey}})
		f := newObjectsFixture(t, pod, clusterObjects()[:1]...)
		forbidden := map[string]bool{"secrets": true, "serviceaccounts": true}
		f.react("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
			r := action.GetResource()
			return forbidden[r.Resource], nil, apierrors.NewForbidden(r.GroupResource(), "", errors.New(secretText))
		})
		script := "ls /all /secret /config; echo ${PASSWORD-none} ${NOKEY-none} $COLOR $KUBERNETES_SERVICE_HOST"
		missing := "/all:\nc\nname\n\n/secret:\n\n/config:\nbin\ncolor\nsize\nnone none blue 10.96.0.1\n"
		f.wants("app", script, missing)
		want := []string{"Service default/kubernetes: NotFound", "Secret db: Forbidden get secrets",
			"ConfigMap settings: it has no such key",
			"token of ServiceAccount robot: Forbidden create serviceaccounts/token",
			"Secret none: Forbidden get secrets"}
		if got := f.warnings(); !slices.Equal(got, want) {
			t.Errorf("warnings %q", got)
		}
		time.Sleep(time.Minute)
		f.put() // a new version of the pod
		f.wants("app", script, missing)
		f.wants("other", "echo $KUBERNETES_SERVICE_HOST", "10.96.0.1\n")
		if got := f.warnings(); got != nil {
			t.Errorf("warnings again: %q", got)
		}

		// With the permissions, the container gets its variables and files, and keeps them.
		clear(forbidden)
		settings := clusterObjects()[0].(*v1.ConfigMap)
		settings.Data["nokey"] = ""
		configMaps := v1.SchemeGroupVersion.WithResource("configmaps")
		if err := f.client.Tracker().Update(configMaps, settings, "default"); err != nil {
			t.Fatal(err)
		}
		for _, object := range clusterObjects()[1:] {
			if err := f.client.Tracker().Add(object); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		f.wants("app", "cat /secret/pw; ls /all; echo $PASSWORD",
			secretText+"-pwc\nname\np\ntoken\n"+secretText+"-pw\n")
		if err := f.client.CoreV1().Secrets("default").Delete(t.Context(), "db", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		// A kubelet keeps the files of a deleted Secret, unless it is optional.
		f.wants("app", "ls /secret /all; cat /all/p; echo $PASSWORD", "/secret:\n\n/all:\nc\nname\np\ntoken\n"+
			secretText+"-pw"+secretText+"-pw\n")
	})
}

// TestSlowAPIServer checks that a command runs without its volumes if the apiserver does not answer.
func TestSlowAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newObjectsFixture(t, volumesPod(), clusterObjects()...)
		m := &member{description: &description{name: "node-1"}, fleet: &Fleet{options: Options{Logger: zap.NewNop()}}}
		f.store.SetObjects(silent{objects{m}}, time.Minute)
		began := time.Now()
		f.wants("app", "echo $COLOR; ls /config", "\n")
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// silent is an apiserver that does not answer.
type silent struct{ objects }

func (silent) KubernetesService(ctx context.Context) (*v1.Service, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (silent) ConfigMap(ctx context.Context, _, _ string) (*v1.ConfigMap, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (silent) Secret(ctx context.Context, _, _ string) (*v1.Secret, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (silent) Token(ctx context.Context, _ *v1.Pod,
	_ *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
