package demo

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/config"
	"fauxlet/internal/color"
	"fauxlet/internal/freeport"
	"fauxlet/internal/host"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
)

// TourOptions configure [Tour]. Folder and Out are required.
type TourOptions struct {
	Folder *Folder
	// In is the input from which the tour reads Enter between scenes. If In is nil, the tour does not wait.
	In io.Reader
	// Out receives the text of the scenes, with colors if it is a terminal.
	Out io.Writer
	// Host are the options for package host, which runs the stand-in kubelets. Tour itself sets the options about nodes
	// and about the tour's requests.
	Host host.Options
}

// tour plays scenes. Each step that has a configuration starts a new stand-in kubelet on a free port. All stand-in
// kubelets run until the end of the tour, so that a user can paste the printed curl commands.
type tour struct {
	printer
	*sender
	host     *host.Host
	reviewer *reviewapi.Server
	tokens   authenticationv1.AuthenticationV1Interface
	access   authorizationv1.AuthorizationV1Interface
	pods     *pods.Store
	// current is the stand-in kubelet that was started last.
	current *host.Node
}

// Tour plays the scenes. If the result of a request differs from the result that its scene expects, Tour returns an
// error. If the reader ends the tour early, Tour returns nil.
func Tour(ctx context.Context, o TourOptions) (err error) {
	t := &tour{printer: printer{o.Out, color.For(o.Out)}, sender: newSender(o.Folder)}
	if err := t.prepare(); err != nil {
		return err
	}
	if o.Host.Config, err = t.config(nodeName, nil); err != nil {
		return err
	}
	o.Host.Nodes.None = true // the steps of the tour add the nodes
	o.Host.Admin.Reviewer, o.Host.Admin.SentRequest = t.reviewer, t.sentRequest
	if t.host, err = host.New(o.Host); err != nil {
		return err
	}
	if err := t.host.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.host.Stop()) }()
	scenes := script().Scenes
	fmt.Fprintf(t, "\nHow a kubelet decides about a request, in %d scenes on this machine. The files are in %s.\n"+
		"Each curl line can be pasted into another terminal while the tour runs.\n", len(scenes), t.folder.dir)
	if open := t.host.Addresses(); open.Admin != "" {
		fmt.Fprintf(t, "Each decision step by step: %s.\n", inBrowser(open, color.IsTerminal(o.Out)))
	} else if o.Host.Admin.Address != "" {
		fmt.Fprint(t, noAdmin)
	}
	return t.play(ctx, scenes, readLines(o.In))
}

// prepare creates the review API, its clients and the pods. All stand-in kubelets of the tour share them.
func (t *tour) prepare() (err error) {
	if t.reviewer, err = reviewapi.New(reviewapi.Options{Tokens: t.folder.path("tokens.csv")}); err != nil {
		return err
	}
	if t.tokens, t.access, err = t.reviewer.Clients(); err != nil {
		return err
	}
	specs, err := host.ReadPods(t.folder.path("scenario.yaml"))
	if err != nil {
		return err
	}
	t.pods, err = host.NewStore(specs...)
	return err
}

// freeAddress returns a loopback address where no process listens.
func freeAddress() (string, error) {
	port, err := freeport.Next()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// config returns the configuration of a stand-in kubelet. It starts with kubelet.yaml, sets the fields that the demo
// recommends, and then the fields in the argument "fields".
func (t *tour) config(nodeName string, fields map[string]string) (*config.Config, error) {
	clientCA, err := filepath.Abs(t.folder.caFile())
	if err != nil {
		return nil, err
	}
	f, err := t.folder.kubeletFlags(nodeName, "tour-pki")
	if err != nil {
		return nil, err
	}
	override := func(field, value string) { err = errors.Join(err, f.Override(field, cmp.Or(value, `""`))) }
	override("authentication.x509.clientCAFile", strconv.Quote(clientCA))
	override("authentication.webhook.enabled", "true")
	override("authentication.anonymous.enabled", "false")
	override("authorization.mode", "Webhook")
	override("readOnlyPort", "0")
	override("enableServer", "true")
	for field, value := range fields {
		if value == "FREE" {
			address, err := freeAddress()
			if err != nil {
				return nil, err
			}
			_, value, _ = net.SplitHostPort(address)
		}
		override(field, value)
	}
	if err != nil {
		return nil, err
	}
	cfg, err := f.Load()
	if err != nil {
		return nil, err
	}
	cfg.Kubelet.Port = 0 // a free port
	return cfg, nil
}

// play plays the scenes until the last one, or until the reader ends the tour.
func (t *tour) play(ctx context.Context, scenes []scene, lines <-chan string) error {
	steps, failed := 0, 0
	for i, scene := range scenes {
		if quit, err := t.wait(ctx, lines); quit || err != nil {
			return err
		}
		fmt.Fprintf(t, "\n%s\n", t.style.Paint(color.Bold, fmt.Sprintf("%d of %d  %s", i+1, len(scenes), scene.Title)))
		t.paragraph("Claim", scene.Claim)
		for n, step := range scene.Steps {
			steps++
			ok, err := t.playStep(ctx, fmt.Sprintf("scene-%d-%d", i+1, n+1), step)
			if err != nil {
				return fmt.Errorf("scene %d, %s: %w", i+1, scene.Title, err)
			}
			if !ok {
				failed++
			}
		}
		fmt.Fprintln(t)
		t.paragraph("Why", scene.Why)
		t.paragraph("Try", scene.Try)
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
	t.paragraph("Configured", s.Configured)
	t.paragraph("RBAC", s.Bound)
	if err := t.bind(s.RBAC); err != nil {
		return false, err
	}
	if s.Configured != "" && !s.Unreachable {
		if err := t.start(name, s.Fields); err != nil {
			return false, err
		}
	}
	var open host.Addresses
	if s.Unreachable {
		address, err := freeAddress()
		if err != nil {
			return false, err
		}
		open.Secure, open.ReadOnly = address, address
	} else {
		open.Secure, open.ReadOnly = t.current.Addresses()
	}
	address := s.Send.address(open)
	if s.Send.ServerName != "" {
		s.Send.ServerName = t.current.Name()
	}
	t.paragraph("Sent", s.Send.About)
	curl := t.style.Paint(color.Dim, t.folder.curl(&s.Send, address))
	fmt.Fprintln(t, padded("")+" "+curl) // the command is not wrapped, so that a user can paste it
	t.paragraph("Expected", s.expected())
	got, err := t.send(ctx, &s.Send, address, responseTimeout)
	if err != nil {
		return false, err
	}
	return t.result(s, got)
}

// bind sets the RBAC rules of the review API to the demo's original rbac.yaml and additional manifests. It does not
// read the rbac.yaml in the demo's folder, because edits of that file must not change the results of the tour.
func (t *tour) bind(manifests string) error {
	original, err := initialFiles.ReadFile("files/rbac.yaml")
	if err != nil {
		return err
	}
	objects, err := reviewapi.ParseManifests("rbac.yaml", []byte(string(original)+"\n---\n"+manifests))
	if err != nil {
		return err
	}
	policy, err := reviewapi.NewPolicy(objects...)
	if err != nil {
		return err
	}
	t.reviewer.SetPolicy(policy)
	return nil
}

// start starts a stand-in kubelet and stores it in t.current.
func (t *tour) start(name string, fields map[string]string) error {
	cfg, err := t.config(name, fields)
	if err != nil {
		return err
	}
	t.current, err = t.host.Add(server.Options{Config: cfg, Pods: t.pods, TokenReviews: t.tokens,
		AccessReviews: t.access, Observe: t.observe})
	return err
}

func statusText(status int) string { return fmt.Sprintf("%d %s", status, http.StatusText(status)) }

// expected describes the result that the step expects. If the client is expected to fail, the description includes the
// reason.
func (s *step) expected() string {
	if s.Status == 0 {
		return "no response: " + s.Reason
	}
	return statusText(s.Status)
}

// The method "result" prints what the client received, and the kubelet's Decision. It reports whether both are as the
// step expects.
func (t *tour) result(s step, got *response) (bool, error) {
	if got.decision == nil && !s.Unreachable {
		return false, errors.New("the stand-in kubelet recorded no decision about the failed TLS handshake")
	}
	received, decision := statusText(got.status), ""
	if got.decision != nil {
		decision = got.reason()
	}
	reason := decision
	if got.err != nil {
		received, reason = "no response: "+got.err.Error(), got.err.Error()
	}
	ok, c := got.status == s.Status && strings.Contains(reason, s.Reason), color.Green
	if !ok {
		c = color.Red
		received += " (not as expected: " + s.expected() + ", reason: " + s.Reason + ")"
	}
	fmt.Fprintln(t, t.style.Paint(c, padded("Received"))+" "+color.Printable(received))
	t.paragraph("Decision", decision)
	return ok, nil
}

// readLines returns a channel with the lines of in. It closes the channel at the end of the input. If in is nil, the
// channel is nil.
func readLines(in io.Reader) <-chan string {
	if in == nil {
		return nil
	}
	lines := make(chan string)
	// Go cannot cancel a read from a terminal, so the goroutine that reads the lines may live as long as the process.
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}

// wait waits until the reader presses Enter. It returns true if the reader enters q to end the tour.
func (p printer) wait(ctx context.Context, lines <-chan string) (quit bool, err error) {
	if lines == nil {
		return false, nil
	}
	fmt.Fprint(p, "\n[Enter: next scene; q and Enter: quit] ")
	select {
	case line, ok := <-lines:
		if !ok {
			return false, errors.New("standard input has ended: use --yes, which does not wait for Enter")
		}
		return strings.TrimSpace(line) == "q", nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// lineWidth is the maximum length of a printed line, in bytes. Shell commands are never wrapped.
const lineWidth = 100

// printer prints labelled paragraphs.
type printer struct {
	io.Writer
	style color.Style
}

// paragraph prints text after a label, wrapped and indented. It prints nothing if there is no text.
func (p printer) paragraph(label, text string) {
	if text == "" {
		return
	}
	line := padded(label)
	for i, word := range strings.Fields(text) {
		word = color.Printable(word)
		if i > 0 && len(line)+1+len(word) > lineWidth {
			fmt.Fprintln(p, line)
			line = padded("")
		}
		line += " " + word
	}
	fmt.Fprintln(p, line)
}

// padded returns an indented label followed by spaces up to the width of the longest label.
func padded(label string) string { return fmt.Sprintf("  %-*s ", len("Configured"), label) }
