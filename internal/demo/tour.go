package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/config"
	"fauxlet/internal/color"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/host"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
)

// TourOptions configure [Tour]. Folder and Out are required.
type TourOptions struct {
	Folder *Folder
	// In is read for Enter between scenes. If In is nil, the tour does not wait.
	In io.Reader
	// Out receives the text of the scenes. Style determines whether the text has colors.
	Out   io.Writer
	Style color.Style
	// Host has the options of the host. Tour overrides the options about nodes and about the tour's requests.
	Host host.Options
}

// tour plays scenes. Each step with a configuration starts a new stand-in kubelet on a free port. All stand-in
// kubelets run until the end of the tour, so that a user can paste the printed curl commands.
type tour struct {
	printer
	sender   *sender
	host     *host.Host
	reviewer *reviewapi.Server
	rbac     []runtime.Object // the manifests of the demo's original rbac.yaml
	tokens   authenticationv1.AuthenticationV1Interface
	access   authorizationv1.AuthorizationV1Interface
	pods     *pods.Store
	// current is the stand-in kubelet that was started last.
	current *host.Node
	// unused is an address where no process listens.
	unused string
}

// Tour plays the scenes. It returns an error if a request has another result than its scene expects, and nil if the
// reader ends the tour.
func Tour(ctx context.Context, o TourOptions) (err error) {
	t := &tour{printer: printer{o.Out, o.Style}, sender: &sender{folder: o.Folder}}
	if err := t.prepare(); err != nil {
		return err
	}
	if o.Host.Config, err = t.config(nodeName, nil); err != nil {
		return err
	}
	o.Host.Nodes.None = true // each step adds its own node
	o.Host.Admin.Reviewer, o.Host.Admin.SentRequest = t.reviewer, t.sender.sent.of
	if t.host, err = host.New(o.Host); err != nil {
		return err
	}
	if err := t.host.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.host.Stop()) }()
	t.introduce(o.Host.Admin.Address != "")
	return t.play(ctx, newPace(o.In))
}

// prepare creates what all stand-in kubelets share.
func (t *tour) prepare() error {
	var err error
	if t.unused, err = freeAddress(); err != nil {
		return err
	}
	// The lessons use the original rbac.yaml, so a user's edits do not apply.
	rbac, err := initialFiles.ReadFile("files/rbac.yaml")
	if err != nil {
		return err
	}
	if t.rbac, err = reviewapi.ParseManifests("rbac.yaml", rbac); err != nil {
		return err
	}
	if t.reviewer, err = reviewapi.New(reviewapi.Options{Tokens: t.sender.folder.path("tokens.csv")}); err != nil {
		return err
	}
	if t.tokens, t.access, err = offline.ReviewClients(t.reviewer); err != nil {
		return err
	}
	specs, err := host.ReadPods(t.sender.folder.path("scenario.yaml"))
	if err != nil {
		return err
	}
	t.pods, err = host.NewStore(specs...)
	return err
}

// freeAddress returns a loopback address where no process listens.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// config returns the configuration of a stand-in kubelet: kubelet.yaml, changed by the recommended fields and then
// by fields.
func (t *tour) config(nodeName string, fields map[string]string) (*config.Config, error) {
	clientCA, err := filepath.Abs(t.sender.folder.caFile())
	if err != nil {
		return nil, err
	}
	all := map[string]string{
		fieldClientCA: strconv.Quote(clientCA), fieldWebhook: "true", fieldAnonymous: "false", fieldMode: "Webhook",
		fieldReadOnly: "0", "enableServer": "true",
	}
	maps.Copy(all, fields)
	if all[fieldReadOnly] == freePort {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		_, all[fieldReadOnly], _ = net.SplitHostPort(address)
	}
	f, err := t.sender.folder.kubeletFlags(nodeName, "tour-pki")
	if err != nil {
		return nil, err
	}
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if err := f.Override(field, cmp.Or(all[field], `""`)); err != nil {
			return nil, err
		}
	}
	cfg, err := f.Load()
	if err != nil {
		return nil, err
	}
	cfg.Kubelet.Port = 0 // a free port
	return cfg, nil
}

func (t *tour) introduce(wantsAdmin bool) {
	fmt.Fprintf(t, "\nHow a kubelet decides about a request, in %d scenes on this machine. The files are in %s.\n"+
		"Each curl line can be pasted into another terminal while the tour runs.\n", len(scenes), t.sender.folder.dir)
	switch address := t.host.Addresses().Admin; {
	case address != "":
		fmt.Fprintf(t, "In a browser, http://%s/ shows each decision step by step.\n", address)
	case wantsAdmin:
		fmt.Fprint(t, noAdmin)
	}
}

// play plays the scenes until the last one, or until the reader ends the tour.
func (t *tour) play(ctx context.Context, pace *pace) error {
	steps, failed := 0, 0
	for i, scene := range scenes {
		if err := pace.wait(ctx, t); err != nil {
			if errors.Is(err, errQuit) {
				return nil
			}
			return err
		}
		fmt.Fprintf(t, "\n%s\n", t.style.Paint(color.Bold, fmt.Sprintf("%d of %d  %s", i+1, len(scenes), scene.title)))
		if scene.claim != "" {
			t.paragraph("Claim", scene.claim)
		}
		for n, step := range scene.steps {
			steps++
			ok, err := t.playStep(ctx, fmt.Sprintf("scene-%d-%d", i+1, n+1), step)
			if err != nil {
				return fmt.Errorf("scene %d, %s: %w", i+1, scene.title, err)
			}
			if !ok {
				failed++
			}
		}
		fmt.Fprintln(t)
		t.paragraph("Why", scene.why)
		t.paragraph("Try", scene.try)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d requests did not have the expected result", failed, steps)
	}
	fmt.Fprintf(t, "\nEnd of the tour: %d scenes, %d requests, all with the expected result.\n", len(scenes), steps)
	return nil
}

// playStep starts a stand-in kubelet if the step has a configuration, and sends the step's request. It reports
// whether the result is the expected one.
func (t *tour) playStep(ctx context.Context, name string, s step) (bool, error) {
	fmt.Fprintln(t)
	if s.configured != "" {
		t.paragraph("Configured", s.configured)
	}
	if s.bound != "" {
		t.paragraph("RBAC", s.bound)
	}
	if err := t.bind(s.rbac); err != nil {
		return false, err
	}
	if s.configured != "" && !s.unreachable {
		if err := t.start(name, s.fields); err != nil {
			return false, err
		}
	}
	address := t.unused
	if !s.unreachable {
		var open host.Addresses
		open.Secure, open.ReadOnly = t.current.Addresses()
		address = s.send.address(open)
	}
	if s.send.serverName == nodeNameOfStep {
		s.send.serverName = t.current.Name()
	}
	t.paragraph("Sent", s.send.about)
	t.command(t.sender.folder.curl(s.send, address))
	t.paragraph("Expected", s.expected())
	got, err := t.sender.send(ctx, s.send, address, responseTimeout)
	if err != nil {
		return false, err
	}
	return t.result(s, got)
}

// bind sets the reviewer's RBAC rules to the demo's rbac.yaml and additional manifests.
func (t *tour) bind(manifests string) error {
	more, err := reviewapi.ParseManifests("the scene", []byte(manifests))
	if err != nil {
		return err
	}
	policy, err := reviewapi.NewPolicy(slices.Concat(t.rbac, more)...)
	if err != nil {
		return err
	}
	t.reviewer.SetPolicy(policy)
	return nil
}

// start starts a stand-in kubelet, and makes it the current one.
func (t *tour) start(name string, fields map[string]string) error {
	cfg, err := t.config(name, fields)
	if err != nil {
		return err
	}
	t.current, err = t.host.Add(server.Options{
		Config: cfg, Pods: t.pods, TokenReviews: t.tokens, AccessReviews: t.access, Observe: t.sender.decisions.observe,
	})
	return err
}

func statusText(status int) string { return fmt.Sprintf("%d %s", status, http.StatusText(status)) }

// expected returns the result that the step expects. If the client is expected to fail, it includes the reason.
func (s *step) expected() string {
	if s.status == 0 {
		return "no response: " + s.reason
	}
	return statusText(s.status)
}

// result prints what the client received and the kubelet's Decision. It reports whether both are as expected.
func (t *tour) result(s step, got *response) (bool, error) {
	received, reason := statusText(got.status), ""
	if got.err != nil {
		received = "no response: " + got.err.Error()
		reason = got.err.Error()
	} else {
		reason = got.reason()
	}
	ok := got.status == s.status && strings.Contains(reason, s.reason)
	c := color.Green
	if !ok {
		c = color.Red
		received += " (not as expected: " + s.expected() + ", reason: " + s.reason + ")"
	}
	t.line("Received", c, received)
	switch {
	case got.err == nil:
		t.paragraph("Decision", reason)
	case got.decision != nil:
		t.paragraph("Decision", got.reason())
	case !s.unreachable:
		return false, errors.New("the stand-in kubelet recorded no decision about the failed TLS handshake")
	}
	return ok, nil
}
