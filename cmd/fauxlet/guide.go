package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	authenticationv1 "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"fauxlet/authchain"
	"fauxlet/config"
	"fauxlet/internal/decisions"
	"fauxlet/internal/explain/offline"
	"fauxlet/internal/host"
	"fauxlet/internal/pods"
	"fauxlet/internal/reviewapi"
	"fauxlet/server"
)

const (
	fieldReadOnly = "readOnlyPort"
	// freePort stands for one that nobody has.
	freePort = "free"
	// selfName stands for the name of the node, which its self-signed certificate has in it.
	selfName = "the node's name"
)

// guide shows the scenes: each on stand-ins of its own, on free ports, which stay until the end so that a line can be
// pasted.
type guide struct {
	folder   *demoFolder
	tour     *tour
	host     *host.Host
	recorder *decisions.Recorder
	reviewer *reviewapi.Server
	rbac     []runtime.Object
	tokens   authenticationv1.AuthenticationV1Interface
	access   authorizationv1.AuthorizationV1Interface
	store    *pods.Store
	out      io.Writer
	style    style

	// base are the fields that all stand-ins have which a step does not set, as YAML.
	base    map[string]string
	shows   bool       // the roads, on a page, if its port is free
	current *host.Node // that of the step before
	nobody  string     // an address on which nobody listens
}

// runTour shows the guided tour. It fails where something did not come out as the scene says.
func (d *demo) runTour(ctx context.Context, in io.Reader, out io.Writer) error {
	folder, err := openDemoFolder(d.dir)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	g := &guide{folder: folder, tour: newTour(folder), recorder: decisions.NewRecorder(0), out: out, style: styleOf(out), shows: d.admin.address != ""}
	if err := g.prepare(); err != nil {
		return err
	}
	base, err := g.config(demoNode, nil)
	if err != nil {
		return err
	}
	// What libraries say would come between the lines of the tour, which says what is to be known.
	logger, err := d.log.newLogger(io.Discard, 0)
	if err != nil {
		return err
	}
	options, err := d.serving.options(base, logger)
	if err != nil {
		return err
	}
	options.Nodes.None = true
	options.Admin.Reviewer, options.Admin.SentRequest = g.reviewer, g.tour.request
	if g.host, err = host.New(options); err != nil {
		return withFlag(err)
	}
	if err := g.host.Start(ctx); err != nil {
		return withFlag(err)
	}
	err = g.show(ctx, newPace(in, d.yes))
	return errors.Join(err, withFlag(g.host.Stop()))
}

func (g *guide) prepare() error {
	ca, err := filepath.Abs(g.folder.path("pki", "ca.crt"))
	if err != nil {
		return err
	}
	g.base = map[string]string{fieldClientCA: strconv.Quote(ca), fieldWebhook: "true", fieldAnonymous: "false", fieldMode: "Webhook", fieldReadOnly: "0", "enableServer": "true"}
	if g.nobody, err = freeAddress(); err != nil {
		return err
	}
	rbac, err := demoFiles.ReadFile("demo/rbac.yaml") // as it is first: an edited one is another story
	if err != nil {
		return err
	}
	if g.rbac, err = reviewapi.ParseManifests("rbac.yaml", rbac); err != nil {
		return err
	}
	if g.reviewer, err = reviewapi.New(reviewapi.Options{Tokens: g.folder.path("tokens.csv")}); err != nil {
		return err
	}
	if g.tokens, g.access, err = offline.ReviewClients(g.reviewer); err != nil {
		return err
	}
	specs, err := host.ReadPods(g.folder.path("scenario.yaml"))
	if err != nil {
		return withFlag(err)
	}
	g.store, err = pods.NewStore(specs...)
	return err
}

// freeAddress is one of loopback on which nobody listens.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// config is that of the stand-in of a name: the demo's file, with what the scenes begin with, and other fields.
func (g *guide) config(name string, with map[string]string) (*config.Config, error) {
	f := config.NewFlags()
	f.Strict = true
	for _, flag := range [][2]string{
		{"config", g.folder.path("kubelet.yaml")}, {"hostname-override", name}, {"cert-dir", g.folder.path("tour-pki")}, {"register-node", "false"},
	} {
		if err := f.Set(flag[0], flag[1]); err != nil {
			return nil, err
		}
	}
	fields := maps.Clone(g.base)
	maps.Copy(fields, with)
	if fields[fieldReadOnly] == freePort {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		_, fields[fieldReadOnly], _ = net.SplitHostPort(address)
	}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if err := f.Override(field, cmp.Or(fields[field], `""`)); err != nil {
			return nil, err
		}
	}
	c, err := f.Load()
	if err != nil {
		return nil, err
	}
	c.Kubelet.Port = 0 // a free one, which a field that is overridden has put back to its default
	return c, nil
}

// start starts a stand-in.
func (g *guide) start(name string, with map[string]string) error {
	cfg, err := g.config(name, with)
	if err != nil {
		return err
	}
	record := g.recorder.For(name)
	g.current, err = g.host.Add(server.Options{
		Config: cfg, Pods: g.store, TokenReviews: g.tokens, AccessReviews: g.access,
		Observe: func(d *authchain.Decision) {
			record(d) // first: who waits for the visit's Decision then finds nothing of it among those that come after
			g.tour.observe(d)
		},
	})
	return err
}

// show shows all scenes, until the reader has seen enough.
func (g *guide) show(ctx context.Context, pace *pace) error {
	fmt.Fprintf(g.out, "\nWhy a request to a kubelet ends where it does, in %d scenes on this machine. The files are in %s.\n", len(scenes), g.folder.dir)
	if address := g.host.Addresses().Admin; address != "" {
		fmt.Fprintf(g.out, "The road of each request is drawn at http://%s/ while the tour lasts.\n", address)
	} else if g.shows {
		fmt.Fprint(g.out, notShown)
	}
	steps, wrong := 0, 0
	for i, scene := range scenes {
		if err := pace.wait(ctx, g.out); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
		fmt.Fprintf(g.out, "\n%s\n", g.style.paint("1", fmt.Sprintf("%d of %d  %s", i+1, len(scenes), scene.title)))
		if scene.claim != "" {
			g.say("", scene.claim)
		}
		for n, step := range scene.steps {
			steps++
			ok, err := g.step(ctx, fmt.Sprintf("scene-%d-%d", i+1, n+1), step)
			if err != nil {
				return fmt.Errorf("scene %d, %s: %w", i+1, scene.title, err)
			}
			if !ok {
				wrong++
			}
		}
		fmt.Fprintln(g.out)
		g.say("Why", scene.why)
		g.say("Try", scene.try)
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d requests did not end as the tour says", wrong, steps)
	}
	fmt.Fprintf(g.out, "\nThat was the tour: %d scenes, %d requests, and each ended as it was said to.\n", len(scenes), steps)
	return nil
}

// step sends the request of a step, and says whether it ended as it should.
func (g *guide) step(ctx context.Context, name string, s step) (bool, error) {
	policy := g.rbac
	if s.rbac != "" {
		bound, err := reviewapi.ParseManifests("the scene", []byte(s.rbac))
		if err != nil {
			return false, err
		}
		policy = slices.Concat(policy, bound)
	}
	p, err := reviewapi.NewPolicy(policy...)
	if err != nil {
		return false, err
	}
	g.reviewer.SetPolicy(p)
	fmt.Fprintln(g.out)
	if s.set != "" {
		g.say("We set", s.set)
		if !s.nobody {
			if err := g.start(name, s.with); err != nil {
				return false, err
			}
		}
	}
	if s.rbac != "" {
		g.say("We bind", "viewer to system:kubelet-api-admin")
	}
	address := g.nobody
	if !s.nobody {
		secure, readOnly := g.current.Addresses()
		address = secure
		if s.send.readOnly {
			address = readOnly
		}
	}
	if s.send.serverName == selfName {
		s.send.serverName = g.current.Name()
	}
	_, before := g.recorder.After(0)
	ok, err := g.sends(ctx, s.send, address, s.status, s.says)
	if err == nil && s.status == 0 && !s.nobody {
		err = g.handshake(ctx, before)
	}
	return ok, err
}

// sends sends a request, and says what of it and whether it ended with the status, and with a part of what is told.
func (g *guide) sends(ctx context.Context, v visitor, address string, status int, says string) (bool, error) {
	g.say("We send", v.says)
	fmt.Fprintf(g.out, "            %s\n", g.style.paint(dim, g.tour.curl(v, address)))
	expected := strconv.Itoa(status)
	if status == 0 {
		expected = "no answer: " + says
	}
	g.say("Expected", expected)
	got, told, err := g.send(ctx, v, address)
	if err != nil {
		return false, err
	}
	ok := got == status && strings.Contains(told, says)
	if got != 0 {
		told = fmt.Sprintf("%d, %s", got, told)
	}
	g.happened(ok, told, cmp.Or(says, "another status"))
	return ok, nil
}

// happened says what did, and where that is not ok, what was expected.
func (g *guide) happened(ok bool, told, expected string) {
	colour := green
	if !ok {
		colour, told = red, told+" (not as expected: "+expected+")"
	}
	fmt.Fprintf(g.out, "  %s  %s\n", g.style.paint(colour, "Happened"), told)
}

// send gives the status, 0 where there is no answer, and what is told of it.
func (g *guide) send(ctx context.Context, v visitor, address string) (int, string, error) {
	answer, err := g.tour.send(ctx, v, address, tourPatience)
	switch {
	case ctx.Err() != nil:
		return 0, "", ctx.Err()
	case err != nil:
		return 0, err.Error(), nil
	}
	told := cmp.Or(answer.decision.Why(), "and nobody was asked")
	if answer.decision.Cached() {
		told += " (remembered: nobody was asked again)"
	}
	return answer.status, told, nil
}

// handshake tells what the kubelet has seen of a client that did not accept its certificate.
func (g *guide) handshake(ctx context.Context, after uint64) error {
	ctx, cancel := context.WithTimeout(ctx, tourPatience)
	defer cancel()
	d, err := g.next(ctx, after, func(e *decisions.Entry) bool { return e.Decision.Handshake != "" })
	if err != nil {
		return fmt.Errorf("the kubelet does not tell of the handshake: %w", err)
	}
	g.say("Kubelet", d.Why())
	return nil
}

// next waits for the first Decision after an id that is wanted.
func (g *guide) next(ctx context.Context, after uint64, wanted func(*decisions.Entry) bool) (*authchain.Decision, error) {
	follower := g.recorder.Follow(after)
	defer follower.Close()
	for {
		entries, _, err := follower.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if wanted(e) {
				return e.Decision, nil
			}
		}
	}
}

// width is how long lines of the tour are, in letters. Lines for a shell may be longer.
const width = 100

// say prints a text under a heading, in lines that are easily read.
func (g *guide) say(heading, text string) {
	line := fmt.Sprintf("  %-9s", heading)
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width {
			fmt.Fprintln(g.out, line)
			line = strings.Repeat(" ", 11)
		}
		line += " " + word
	}
	fmt.Fprintln(g.out, line)
}

// pace waits for the reader between scenes.
type pace struct {
	lines <-chan string // closed where there are no more; nil: nobody is waited for
}

var errEnough = errors.New("the reader has seen enough")

func newPace(in io.Reader, yes bool) *pace {
	if yes {
		return &pace{}
	}
	lines := make(chan string)
	go func() { // ends with the process: a read of a terminal cannot be given up
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return &pace{lines}
}

func (p *pace) wait(ctx context.Context, out io.Writer) error {
	if p.lines == nil {
		return nil
	}
	fmt.Fprint(out, "\n[Enter: next scene; q and Enter: stop] ")
	select {
	case line, more := <-p.lines:
		switch {
		case !more:
			return errors.New("there is nobody to press Enter: give --yes, which does not wait")
		case strings.TrimSpace(line) == "q":
			return errEnough
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
