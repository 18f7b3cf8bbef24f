package server_test

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"fauxlet/authchain"
	"fauxlet/server"
)

// TestSilentConnectionsDoNotBlockOthers opens more connections without a request than the limit. A followed log and an
// idle connection stay open, and a new client is served.
func TestSilentConnectionsDoNotBlockOthers(t *testing.T) {
	const limit = 10
	f := newFixture(t, fixtureOptions{connections: server.NewConnectionLimit(limit)})
	idle, following := f.client(t, f.certificate(t, "kubelet-client")), f.client(t, f.certificate(t, "kubelet-client"))
	get(t, idle, f.url+"/healthz")
	log, err := following.Get(f.url + "/containerLogs/default/nginx/nginx?follow=true&tailLines=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Body.Close() })
	lines := bufio.NewReader(log.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}

	var silent []net.Conn
	for range 3 * limit {
		silent = append(silent, f.dial(t))
	}
	newcomer := f.client(t, f.certificate(t, "kubelet-client"))
	if response, _ := get(t, newcomer, f.url+"/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("a new client: status %d", response.StatusCode)
	}
	// Three clients keep their connections: the new client, the idle client, and the client that follows the log. The
	// limit of 10 leaves room for the seven newest silent connections. All older silent connections have been closed.
	for i, conn := range silent[:len(silent)-(limit-3)] {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("connection %d received %d bytes", i, n)
		}
	}
	f.find(t, "too many connections", func(d *authchain.Decision) bool {
		return strings.Contains(d.Handshake, "too many connections were open")
	})

	request, err := http.NewRequest("GET", f.url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	if response, _ := do(t, idle, request.WithContext(httptrace.WithClientTrace(t.Context(), trace))); !reused ||
		response.StatusCode != 200 {
		t.Errorf("the idle client: status %d, connection kept: %t", response.StatusCode, reused)
	}
	// When no silent connections are left, each new connection closes the oldest connection without a request in
	// progress. The followed log is a request in progress, so its connection must stay open.
	for range 2 * limit {
		get(t, f.client(t, f.certificate(t, "kubelet-client")), f.url+"/healthz")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.decisions {
		if d.Path != "/healthz" && d.Handshake == "" {
			t.Errorf("the request for %s has ended", d.Path)
		}
	}
}
