package reviewapi

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Faults make reviews fail. There is one Fault for each kind of review. The zero value is no fault.
//
// These faults are injected in the review server, so that they also affect a real kubelet. Package faulty injects
// faults of reviewers on the side of a stand-in kubelet.
type Faults struct {
	TokenReview         Fault
	SubjectAccessReview Fault
}

// Fault is the failure of a review. It happens after the server has authenticated the caller and read the body. At
// most one of Status, Hang, Garbage and Drop may be set. Latency may be set with each of them or alone.
type Fault struct {
	// Status is the HTTP status of the response, from 400 to 599. The response body is a Status object.
	Status int
	// RetryAfter is the value of the Retry-After header that is sent with Status, in seconds. client-go waits that
	// long and retries, up to 10 times.
	RetryAfter int
	// Hang sends no answer until the caller disconnects or the server stops.
	Hang bool
	// Garbage sends a response with status 201 and a body that is not JSON.
	Garbage bool
	// Drop closes the caller's connection.
	Drop bool
	// Latency delays the answer.
	Latency time.Duration
	// Times is how many reviews fail before the fault ends. 0 means that all reviews fail until the fault is
	// removed.
	Times int
}

// Validate returns an error that names the invalid field.
func (f Fault) Validate() error {
	ways := 0
	for _, set := range []bool{f.Status != 0, f.Hang, f.Garbage, f.Drop} {
		if set {
			ways++
		}
	}
	switch {
	case ways > 1:
		return fmt.Errorf("at most one of status, hang, garbage and drop can be set, not %d", ways)
	case f.Status != 0 && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("status: %d: want 400 to 599", f.Status)
	case f.RetryAfter < 0:
		return fmt.Errorf("retryAfter: %d: want 0 or more seconds", f.RetryAfter)
	case f.RetryAfter > 0 && f.Status == 0:
		return fmt.Errorf("retryAfter: %d: set status too, to 429 or 503", f.RetryAfter)
	case f.Latency < 0:
		return fmt.Errorf("latency: %s: want 0 or more", f.Latency)
	case f.Times < 0:
		return fmt.Errorf("times: %d: want 0 (always) or more", f.Times)
	}
	return nil
}

// String returns the fault in one or two words, or "" for no fault.
func (f Fault) String() string {
	var name string
	switch {
	case f.Status != 0:
		name = fmt.Sprintf("status %d", f.Status)
	case f.Hang:
		name = "hang"
	case f.Garbage:
		name = "garbage"
	case f.Drop:
		name = "drop"
	}
	if f.Latency == 0 {
		return name
	}
	if name != "" {
		name += " after "
	}
	return name + f.Latency.String()
}

// faults holds the current faults.
type faults struct {
	mu  sync.Mutex
	now Faults
}

func (f *faults) of(kind string) *Fault {
	if kind == kindTokenReview {
		return &f.now.TokenReview
	}
	return &f.now.SubjectAccessReview
}

// take returns the fault for the next review of a kind, and decrements Times if it is set.
func (f *faults) take(kind string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.of(kind)
	taken := *fault
	if fault.Times == 1 {
		*fault = Fault{}
	} else if fault.Times > 1 {
		fault.Times--
	}
	return taken
}

// SetFaults makes reviews fail from the next one on. If a fault is invalid it returns an error and changes nothing.
func (s *Server) SetFaults(faults Faults) error {
	if err := faults.TokenReview.Validate(); err != nil {
		return fmt.Errorf("faults: tokenReview.%w", err)
	}
	if err := faults.SubjectAccessReview.Validate(); err != nil {
		return fmt.Errorf("faults: subjectAccessReview.%w", err)
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.now = faults
	return nil
}

// Faults returns the current faults. Their field Times is the number of reviews that will still fail.
func (s *Server) Faults() Faults {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.now
}

// garbage is a response body that is neither JSON nor protobuf.
const garbage = "<html>not a review\x00\xff"

type connKey struct{}

// inject applies the fault. If err is not nil, the caller must answer with err. If done is true, the caller must not
// answer. Otherwise the caller must answer the review as usual.
func (f Fault) inject(w http.ResponseWriter, r *http.Request, resource schema.GroupResource) (done bool, err error) {
	if f.Hang || f.Latency > 0 {
		// Remove the read deadline: the body is read completely, and the server's read timeout would end the
		// request's context.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	if f.Latency > 0 {
		timer := time.NewTimer(f.Latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Status != 0:
		return true, f.error(resource)
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // close the connection without an answer
	case f.Garbage:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(garbage))
		return true, nil
	case f.Drop:
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			_ = conn.Close()
		}
		panic(http.ErrAbortHandler)
	}
	return false, nil
}

func (f Fault) error(resource schema.GroupResource) error {
	err := apierrors.NewGenericServerResponse(f.Status, "post", resource, "", "a fault was set on this review",
		f.RetryAfter, false)
	err.ErrStatus.Details = &metav1.StatusDetails{Group: resource.Group, Kind: resource.Resource,
		RetryAfterSeconds: int32(f.RetryAfter)}
	err.ErrStatus.Message = fmt.Sprintf("%s: a fault was set on this review", err.ErrStatus.Message)
	return err
}
