package same

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
)

// counted lists the metrics that must have equal values on both servers after the same Requests: metrics about
// requests, reviews and authentication. For metrics of durations, only the number of observations is compared.
var counted = []string{
	"kubelet_http_requests_total", "kubelet_http_inflight_requests", "kubelet_http_requests_duration_seconds_count",
	"kubelet_websocket_streaming_requests_total",
	"apiserver_delegated_authn_request_total", "apiserver_delegated_authz_request_total",
	"authenticated_user_requests", "authentication_attempts",
}

// scrape requests /metrics and returns the values of the metrics in the list "counted".
func (s *side) scrape(conn net.Conn, r request) map[string]string {
	defer conn.Close()
	values := map[string]string{}
	if _, err := io.WriteString(conn, r.Text("")); err != nil {
		return values
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return values
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), "} ")
		if found {
			name += "}"
		} else if name, value, found = strings.Cut(lines.Text(), " "); !found {
			continue
		}
		family, _, _ := strings.Cut(name, "{")
		for _, one := range counted {
			if family == one {
				values[name] = value
			}
		}
	}
	return values
}
