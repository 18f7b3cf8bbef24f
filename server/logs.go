package server

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fauxlet/internal/podlog"
	"fauxlet/internal/pods"
)

// logHandlers serve the logs of containers.
type logHandlers struct {
	pods      *pods.Store
	clockSkew func() time.Duration
	// The context "draining" is canceled when the Server stops. Followed logs then end.
	draining context.Context
	// splitStreams is true if stdout and stderr can be read separately (feature gate PodLogsQuerySplitStreams).
	splitStreams bool
	ignoreStream bool // ignore the query parameter stream, like a kubelet before v1.32
}

// getContainerLogs writes the log of a container. It checks the request in the kubelet's order. Some of the kubelet's
// errors are JSON and some are text. (kubelet: Server.getContainerLogs)
func (h *logHandlers) getContainerLogs(w http.ResponseWriter, r *http.Request) error {
	vars := mux.Vars(r)
	namespace, name, container := vars["namespace"], vars["pod"], vars["container"]
	switch {
	case name == "":
		return statusErrorf(http.StatusBadRequest, `{"message": "Missing podID."}`)
	case container == "":
		return statusErrorf(http.StatusBadRequest, `{"message": "Missing container name."}`)
	case namespace == "":
		return statusErrorf(http.StatusBadRequest, `{"message": "Missing podNamespace."}`)
	}
	query := r.URL.Query()
	if h.ignoreStream {
		query.Del("stream")
	}
	options, err := decodeLogOptions(query)
	if err != nil {
		return statusErrorf(http.StatusBadRequest, `{"message": "Unable to decode query."}`)
	}
	if !validLogOptions(options) {
		return statusErrorf(http.StatusUnprocessableEntity, `{"message": "Invalid request."}`)
	}
	pod, found := h.pods.Get(namespace, name)
	if !found {
		return statusErrorf(http.StatusNotFound, "pod %q does not exist", name)
	}
	if !pods.HasContainer(pod, container) {
		return statusErrorf(http.StatusNotFound, "container %q not found in pod %q", container, name)
	}

	var stdout, stderr io.Writer = w, w
	if options.Stream != nil && *options.Stream != v1.LogStreamAll {
		if !h.splitStreams {
			return statusErrorf(http.StatusBadRequest,
				"unable to return the given log stream: %q. Please enable PodLogsQuerySplitStreams feature gate "+
					"in kubelet", *options.Stream)
		}
		if *options.Stream == v1.LogStreamStdout {
			stderr = nil
		} else {
			stdout = nil
		}
	}

	ctx := r.Context()
	if options.Follow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(h.draining, cancel)()
	}
	if skew := h.clockSkew(); skew != 0 {
		ctx = podlog.WithClock(ctx, skew)
	}
	w.Header()["Transfer-Encoding"] = chunked
	// The response has no Content-Type header. (A kubelet begins a log with an empty write, from which net/http cannot
	// detect a content type.)
	w.Header()["Content-Type"] = nil
	if err := h.pods.Logs(ctx, namespace, name, container, options, stdout, stderr); err != nil {
		if r.ProtoMajor > 1 {
			// With HTTP/2, the error has a Content-Type if it is the first write of the response, because net/http then
			// detects one.
			w.Header().Del("Content-Type")
		}
		return statusErrorf(http.StatusBadRequest, "%s", err.Error())
	}
	if r.ProtoMajor > 1 {
		// A kubelet flushes after each write, so even a short log has no Content-Length.
		return http.NewResponseController(w).Flush()
	}
	return nil
}

// chunked is the Transfer-Encoding header of a log. All responses share the slice, because net/http does not change it.
var chunked = []string{"chunked"}

// decodeLogOptions decodes PodLogOptions from a query as the kubelet's parameter codec does: it uses the first value of
// each name, ignores unknown names, and treats every value of a boolean parameter except 0 and false as true.
// (k8s.io/kubernetes pkg/apis/core/v1, Convert_url_Values_To_v1_PodLogOptions)
func decodeLogOptions(query url.Values) (*v1.PodLogOptions, error) {
	// The parameter tail is the older name of tailLines. It takes precedence, and its value "all" means no limit.
	if tail := query.Get("tail"); tail == "all" {
		query.Del("tailLines")
	} else if tail != "" {
		query.Set("tailLines", tail)
	}
	options := &v1.PodLogOptions{
		Container: query.Get("container"), Follow: queryBool(query, "follow"), Previous: queryBool(query, "previous"),
		Timestamps: queryBool(query, "timestamps"), InsecureSkipTLSVerifyBackend: queryBool(query,
			"insecureSkipTLSVerifyBackend"),
	}
	if values := query["sinceTime"]; len(values) > 0 {
		options.SinceTime = &metav1.Time{}
		if err := options.SinceTime.UnmarshalQueryParameter(values[0]); err != nil {
			return nil, err
		}
	}
	if values := query["stream"]; len(values) > 0 {
		options.Stream = &values[0]
	}
	for _, parameter := range [...]struct {
		name string
		into **int64
	}{{"sinceSeconds", &options.SinceSeconds}, {"tailLines", &options.TailLines}, {"limitBytes", &options.LimitBytes}} {
		if values := query[parameter.name]; len(values) > 0 {
			value, err := strconv.ParseInt(values[0], 10, 64)
			if err != nil {
				return nil, err
			}
			*parameter.into = &value
		}
	}
	return options, nil
}

func queryBool(query url.Values, name string) bool {
	values := query[name]
	return len(values) > 0 && values[0] != "0" && !strings.EqualFold(values[0], "false")
}

// validLogOptions validates PodLogOptions. (k8s.io/kubernetes pkg/apis/core/v1/validation)
func validLogOptions(o *v1.PodLogOptions) bool {
	switch {
	case o.TailLines != nil && *o.TailLines < 0, o.LimitBytes != nil && *o.LimitBytes < 1,
		o.SinceSeconds != nil && (o.SinceTime != nil || *o.SinceSeconds < 1):
		return false
	case o.Stream == nil:
		return true
	}
	switch *o.Stream {
	case v1.LogStreamAll:
		return true
	case v1.LogStreamStdout, v1.LogStreamStderr:
		return o.TailLines == nil
	}
	return false
}
