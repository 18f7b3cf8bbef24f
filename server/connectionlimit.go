package server

import (
	"container/list"
	"sync"
)

// ConnectionLimit limits the number of open connections of all Servers that share it. Without a limit, clients that
// open connections and send no requests could use up the file descriptors of the process. If a new connection exceeds
// the limit, one connection is closed. It is the first of these that exists: the oldest other connection that has not
// sent a request; the oldest connection whose requests have all ended; the new connection. Connections that have become
// a stream of exec, attach or port-forward do not count.
type ConnectionLimit struct {
	most int

	mu           sync.Mutex
	silent, used list.List // of *connection, oldest first: without and with a request
}

// NewConnectionLimit returns a ConnectionLimit that allows the given number of open connections.
func NewConnectionLimit(most int) *ConnectionLimit { return &ConnectionLimit{most: most} }

// add adds a new connection. If there are then too many connections, it closes one of them.
func (l *ConnectionLimit) add(c *connection) {
	if l == nil {
		return
	}
	l.mu.Lock()
	c.in, c.element = &l.silent, l.silent.PushBack(c)
	var surplus *connection
	if l.silent.Len()+l.used.Len() > l.most {
		surplus = l.surplus()
		surplus.in.Remove(surplus.element)
		surplus.in = nil
	}
	l.mu.Unlock()
	if surplus != nil {
		surplus.surplus.Store(true)
		surplus.below.Close()
	}
}

// surplus returns the connection to close. If no older connection can be closed, it returns the newest, which has not
// sent a request yet.
func (l *ConnectionLimit) surplus() *connection {
	if l.silent.Len() == 1 { // only the newest
		for e := l.used.Front(); e != nil; e = e.Next() {
			if c := e.Value.(*connection); c.serving.Load() == 0 {
				return c
			}
		}
	}
	return l.silent.Front().Value.(*connection)
}

// requested records the first request of a connection.
func (l *ConnectionLimit) requested(c *connection) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.in != nil {
		c.in.Remove(c.element)
		c.in, c.element = &l.used, l.used.PushBack(c)
	}
}

// remove removes a connection that is closed or has become a stream.
func (l *ConnectionLimit) remove(c *connection) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.in != nil {
		c.in.Remove(c.element)
		c.in = nil
	}
}
