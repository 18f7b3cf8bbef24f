package server

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"syscall"
	"testing/fstest"
	"time"

	"k8s.io/utils/ptr"
)

// nodeLogs are the logs of the node itself: the files in /var/log, and journald's log of the node's services. Both
// are in memory; the logs of the host are never read.
type nodeLogs struct {
	files   fs.FS
	handler http.Handler
	journal *journal
}

// newNodeLogs returns logs with the given files; nil means the files of a node that has just been started. query
// turns on queries.
func newNodeLogs(nodeName string, files map[string]string, query bool) (*nodeLogs, error) {
	booted := time.Now().Add(-journalAge).Truncate(time.Second)
	l := &nodeLogs{journal: &journal{node: nodeName, booted: booted}}
	tree := fstest.MapFS{}
	add := func(name, text string) {
		tree[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644, ModTime: booted}
	}
	if files == nil {
		add("kubelet.log", l.journal.text([]string{"kubelet"}, booted, booted.Add(10*time.Minute)))
		add("syslog", l.journal.text(journalServices, booted, booted.Add(10*time.Minute)))
	}
	for name, text := range files {
		if !fs.ValidPath(name) || name == "." {
			return nil, fmt.Errorf("nodeLogs: %q: must be a path below /var/log, for example containers/a.log", name)
		}
		add(name, text)
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, there := files[dir]; there {
				return nil, fmt.Errorf("nodeLogs: %q: %q is a file, and cannot hold others", name, dir)
			}
			tree[dir] = &fstest.MapFile{Mode: 0o755 | fs.ModeDir, ModTime: booted}
		}
	}
	tree["."] = &fstest.MapFile{Mode: 0o755 | fs.ModeDir, ModTime: booted}
	l.files = hostNames{tree}
	l.handler = http.FileServerFS(l.files)
	if query {
		l.handler = l.queried(l.handler)
	}
	l.handler = http.StripPrefix("/logs/", l.handler)
	return l, nil
}

// hostNames limits the length of file names in the same way as a host's filesystem.
type hostNames struct{ fs.FS }

func (h hostNames) Open(name string) (fs.File, error) {
	const maxName, maxPath = 255, 4095 // NAME_MAX, and PATH_MAX without the final NUL
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxName || len("/var/log/")+len(name) > maxPath {
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENAMETOOLONG}
		}
	}
	return h.FS.Open(name)
}

// nodeLogHandlers serve /logs/.
type nodeLogHandlers struct {
	// nodeLogs makes the node's logs when they are first needed.
	nodeLogs func() (*nodeLogs, error)
}

// getNodeLogs serves /logs/. (kubelet: Kubelet.ServeLogs and its logServer)
func (h *nodeLogHandlers) getNodeLogs(w http.ResponseWriter, r *http.Request) error {
	logs, err := h.nodeLogs()
	if err != nil {
		return err
	}
	logs.handler.ServeHTTP(w, r)
	return nil
}

// queried answers queries for services and files, and passes other requests to tree. Queries require
// enableSystemLogQuery and the feature gate NodeLogQuery. (kubelet: pkg/kubelet/kubelet.go, Run)
func (l *nodeLogs) queried(tree http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, errs := parseLogQuery(r.URL.Query())
		if len(errs) > 0 {
			http.Error(w, errs.ToAggregate().Error(), http.StatusBadRequest)
			return
		}
		if query == nil {
			tree.ServeHTTP(w, r)
			return
		}
		if r.URL.Path != "/" && r.URL.Path != "" {
			http.Error(w, "path not allowed in query mode", http.StatusNotAcceptable)
			return
		}
		if errs := query.validate(l.files); len(errs) > 0 {
			http.Error(w, errs.ToAggregate().Error(), http.StatusNotAcceptable)
			return
		}
		if len(query.services) > 0 {
			l.answer(w, r, query)
			return
		}
		r.URL.Path = strings.ReplaceAll(query.files[0], `\`, "/")
		tree.ServeHTTP(w, r)
	})
}

// answer writes the logs of services. They come from the journal, or from a file with the service's name if the
// journal does not have the service. (kubelet: journalServer.ServeHTTP, nodeLogQuery.Copy)
func (l *nodeLogs) answer(w http.ResponseWriter, r *http.Request, query *logQuery) {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	out, done := compressed(w, r)
	defer done()
	var known, files []string
	for _, service := range query.services {
		if l.journal.has(service) {
			known = append(known, service)
		} else {
			files = append(files, service)
		}
	}
	if len(known) > 0 {
		fmt.Fprint(out, l.journal.query(known, query))
	}
	if len(files) > 0 && query.hasOptions() {
		fmt.Fprintf(out, "\noptions present and query resolved to log files for %v\ntry without specifying options\n",
			files)
		return
	}
	for _, service := range files {
		text, err := l.file(r.Context(), service)
		if err != nil {
			fmt.Fprintf(out, "\nlog not found for %s\n", service)
			continue
		}
		out.Write(text)
	}
}

// file returns the log file of a service.
func (l *nodeLogs) file(ctx context.Context, service string) (text []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, name := range []string{service, service + ".log", service + "/" + service + ".log"} {
		if text, err = fs.ReadFile(l.files, name); err == nil {
			return text, nil
		}
	}
	return nil, err
}

// hasOptions returns whether the query has options besides names of services or files. (kubelet: options)
func (q *logQuery) hasOptions() bool {
	return q.since != nil || q.until != nil || q.tail != nil || q.boot != nil || q.pattern != ""
}

// journalAge is how long the node has been running when its kubelet starts.
const journalAge = time.Hour

// journalServices are the services in the journal.
var journalServices = []string{"containerd", "kubelet"}

// journal imitates journald's log of the node's services. It has one entry every ten seconds since the node started.
// An entry depends only on its time, so entries are computed when they are read.
type journal struct {
	node   string
	booted time.Time
}

const journalInterval = 10 * time.Second

var journalMessages = map[string][]string{
	"kubelet": {
		`"Status for pod updated" node=%q`, `"Nothing to do for the pods of the node" node=%q`,
		`"Lease renewed" node=%q`,
	},
	"containerd": {
		`level=info msg="image garbage collection: nothing to collect" node=%q`,
		`level=info msg="containers listed" node=%q`,
	},
}

// has returns whether the journal has a service. As with journald, the end of a service's name is sufficient.
func (*journal) has(service string) bool {
	for _, known := range journalServices {
		if strings.HasSuffix(known, service) {
			return true
		}
	}
	return false
}

// query returns what journalctl prints for a query.
func (j *journal) query(services []string, q *logQuery) string {
	if ptr.Deref(q.boot, 0) < 0 {
		return fmt.Sprintf("Data from the specified boot (%d) is not available: No such boot ID in journal\n", *q.boot)
	}
	now := time.Now()
	since, until := j.booted, now
	if q.since != nil && q.since.After(since) {
		since = *q.since
	}
	if q.until != nil && q.until.Before(until) {
		until = *q.until
	}
	var lines []string
	for line := range strings.Lines(j.text(services, since, until)) {
		if q.matches(line) {
			lines = append(lines, line)
		}
	}
	if q.tail != nil {
		lines = lines[max(0, len(lines)-*q.tail):]
	}
	if len(lines) == 0 {
		return "-- No entries --\n"
	}
	return strings.Join(lines, "")
}

// text returns the entries of services from since to until, in the format of `journalctl --utc
// --output=short-precise`.
func (j *journal) text(services []string, since, until time.Time) string {
	var b strings.Builder
	first := max(0, (since.Sub(j.booted)+journalInterval-1)/journalInterval)
	for i := first; ; i++ {
		at := j.booted.Add(i * journalInterval)
		if at.After(until) {
			return b.String()
		}
		for k, service := range journalServices {
			for _, wanted := range services {
				if strings.HasSuffix(service, wanted) {
					messages := journalMessages[service]
					fmt.Fprintf(&b, "%s %s %s[%d]: "+messages[int(i)%len(messages)]+"\n",
						at.UTC().Format("Jan 02 15:04:05.000000"), j.node, service, 801+k, j.node)
					break
				}
			}
		}
	}
}
