package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// nodeLogs are the logs of the node itself: the files in /var/log, and journald's log of the node's services. They
// exist only in memory. The logs of the host are never read.
type nodeLogs struct {
	http.Handler // serves /logs/
	files        logFiles
	fileServer   http.Handler // serves the files, without the prefix /logs/
	journal      *journal
	// queries is true if /logs/ accepts queries for logs. This requires enableSystemLogQuery and the feature gate
	// NodeLogQuery.
	queries bool
}

// newNodeLogs returns the logs of a node with the given files in /var/log. If "files" is nil, the node has the files of
// a node that has just been started.
func newNodeLogs(nodeName string, files map[string]string, queries bool) (*nodeLogs, error) {
	booted := time.Now().Add(-journalAge).Truncate(time.Second)
	l := &nodeLogs{journal: &journal{node: nodeName, booted: booted}, queries: queries}
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
			return nil, fmt.Errorf("nodeLogs: %q is not relative to /var/log; use a path like containers/a.log", name)
		}
		add(name, text)
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, there := files[dir]; there {
				return nil, fmt.Errorf("nodeLogs: %q: %q is a file, so it cannot contain other files", name, dir)
			}
			tree[dir] = &fstest.MapFile{Mode: 0o755 | fs.ModeDir, ModTime: booted}
		}
	}
	tree["."] = &fstest.MapFile{Mode: 0o755 | fs.ModeDir, ModTime: booted}
	l.files = logFiles{tree}
	l.fileServer = http.FileServerFS(l.files)
	l.Handler = http.StripPrefix("/logs/", http.HandlerFunc(l.serve))
	return l, nil
}

type nodeLogHandlers struct {
	nodeLogs func() (*nodeLogs, error) // the first call makes the logs
}

// getNodeLogs serves /logs/. (kubelet: Kubelet.ServeLogs and its logServer)
func (h *nodeLogHandlers) getNodeLogs(w http.ResponseWriter, r *http.Request) error {
	logs, err := h.nodeLogs()
	if err == nil {
		logs.ServeHTTP(w, r)
	}
	return err
}

// The method "serve" responds to a request for a path below /logs/. The caller has removed /logs/ from the path. If the
// request has a query for logs, the response contains the logs of services, or one file. Otherwise the response is the
// file or directory that the path names. (kubelet: pkg/kubelet/kubelet.go, Run)
func (l *nodeLogs) serve(w http.ResponseWriter, r *http.Request) {
	var query *logQuery
	if l.queries {
		var errs field.ErrorList
		if query, errs = parseLogQuery(r.URL.Query()); len(errs) > 0 {
			writeError(w, r, plainError(http.StatusBadRequest, errs.ToAggregate()))
			return
		}
	}
	if query != nil {
		if r.URL.Path != "" && r.URL.Path != "/" {
			writeError(w, r, plainError(http.StatusNotAcceptable, errors.New("path not allowed in query mode")))
			return
		}
		if errs := query.validate(l.files); len(errs) > 0 {
			writeError(w, r, plainError(http.StatusNotAcceptable, errs.ToAggregate()))
			return
		}
		if len(query.services) > 0 {
			l.answer(w, r, query)
			return
		}
		r.URL.Path = query.files[0]
	}
	l.fileServer.ServeHTTP(w, r)
}

// The method "answer" writes the logs of the services that a query names. The log of a service comes from the journal,
// or, if the journal has no entries of the service, from the file with the service's name. (kubelet:
// journalServer.ServeHTTP, nodeLogQuery.Copy)
func (l *nodeLogs) answer(w http.ResponseWriter, r *http.Request, query *logQuery) {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	out, done := compressed(w, r)
	defer done()
	files := slices.DeleteFunc(slices.Clone(query.services), inJournal)
	if len(files) < len(query.services) {
		fmt.Fprint(out, l.journal.query(query))
	}
	if len(files) > 0 && query.hasOptions() {
		fmt.Fprintf(out, "\noptions present and query resolved to log files for %v\ntry without specifying options\n",
			files)
		return
	}
	for _, service := range files {
		l.copyFile(out, service)
	}
}

// copyFile writes the log file of a service. A service has several possible log files, and the first that exists is
// used. If none exists, copyFile writes an error message. (kubelet: heuristicsCopyFileLogs)
func (l *nodeLogs) copyFile(w io.Writer, service string) {
	for _, name := range []string{service, service + ".log", service + "/" + service + ".log"} {
		text, err := l.files.read(name)
		switch {
		case err == nil:
			w.Write(text)
			return
		case !errors.Is(err, fs.ErrNotExist):
			fmt.Fprintf(w, "\nerror getting log for %s: %v\n", service, err)
			return
		}
	}
	fmt.Fprintf(w, "\nlog not found for %s\n", service)
}

// hasOptions returns whether the query has options besides names of services or files. (kubelet: options)
func (q *logQuery) hasOptions() bool {
	return q.since != nil || q.until != nil || q.tail != nil || q.boot != nil || q.pattern != ""
}

// journalAge is how long the node has been running when its kubelet starts. The journal has entries for this time too.
const journalAge = time.Hour

var journalServices = []string{"containerd", "kubelet"}

// journal imitates journald's log of the node's services. It has one entry every ten seconds since the node started.
// An entry depends only on its time, so entries are computed when they are read.
type journal struct {
	node   string
	booted time.Time
}

const journalInterval = 10 * time.Second

var journalMessages = map[string][]string{
	"kubelet": {`"Status for pod updated" node=%q`, `"Nothing to do for the pods of the node" node=%q`,
		`"Lease renewed" node=%q`},
	"containerd": {`level=info msg="image garbage collection: nothing to collect" node=%q`,
		`level=info msg="containers listed" node=%q`},
}

// inJournal returns whether the journal has entries of the given service. As with journald, the given name may be only
// the end of the service's full name.
func inJournal(service string) bool {
	return slices.ContainsFunc(journalServices, func(known string) bool { return strings.HasSuffix(known, service) })
}

// The method "query" returns the text that journalctl would print for a query.
func (j *journal) query(q *logQuery) string {
	if ptr.Deref(q.boot, 0) < 0 {
		return fmt.Sprintf("Data from the specified boot (%d) is not available: No such boot ID in journal\n", *q.boot)
	}
	since, until := j.booted, time.Now()
	if q.since != nil && q.since.After(since) {
		since = *q.since
	}
	if q.until != nil && q.until.Before(until) {
		until = *q.until
	}
	var lines []string
	for line := range strings.Lines(j.text(q.services, since, until)) {
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

// text returns the journal's entries about the given services between two times, in the format of `journalctl --utc
// --output=short-precise`.
func (j *journal) text(services []string, since, until time.Time) string {
	if since.After(until) { // the difference between two times may be longer than a Duration
		return ""
	}
	var b strings.Builder
	first := max(0, (since.Sub(j.booted)+journalInterval-1)/journalInterval)
	for i := first; ; i++ {
		at := j.booted.Add(i * journalInterval)
		if at.After(until) {
			return b.String()
		}
		for k, service := range journalServices {
			if slices.ContainsFunc(services, func(wanted string) bool { return strings.HasSuffix(service, wanted) }) {
				messages := journalMessages[service]
				fmt.Fprintf(&b, "%s %s %s[%d]: "+messages[int(i)%len(messages)]+"\n",
					at.UTC().Format("Jan 02 15:04:05.000000"), j.node, service, 801+k, j.node)
			}
		}
	}
}
