//go:build unix

package server_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"fauxlet/internal/decisions"
	"fauxlet/internal/logging"
	"fauxlet/server"
)

const (
	benchRounds = 11
	benchRound  = time.Second
	benchLines  = 20000
)

// serverVariable is an environment variable. If it is set, BenchmarkBeside serves instead of measuring: its value is
// serverFauxlet or serverBare.
const (
	serverVariable = "FAUXLET_BENCH_SERVER"
	serverFauxlet  = "fauxlet"
	serverBare     = "bare"
)

// BenchmarkBeside compares the cost of a Server with the cost of a bare net/http server that sends the same bytes in
// the same chunks. Each server is a process of its own: this test binary, started again. So the benchmark can measure
// the CPU time of the server without the CPU time of the clients.
//
// The clients request a container's log. They use mutual TLS and keep their connections open. The Server authenticates
// and authorizes each request, with cached SubjectAccessReviews, keeps the most recent Decisions, and writes a log line
// about each Decision to a file. The two servers take turns in short rounds, and the results are the medians of the
// rounds' ratios. With one long measurement of each server instead, a change in the machine's load would distort the
// comparison.
//
// With the flag -cpuprofile FILE or -memprofile FILE, the profiles of the two servers are in FILE.fauxlet and
// FILE.bare.
func BenchmarkBeside(b *testing.B) {
	if kind := os.Getenv(serverVariable); kind != "" {
		serveForBenchmark(b, kind)
		return
	}
	fauxlet, bare := startServer(b, serverFauxlet), startServer(b, serverBare)
	for _, load := range []struct {
		name, query string
		wanted      float64 // the CPU ratio to reach
	}{
		{"request-of-10-lines", "?tailLines=10", 0.88},
		{"log-of-20000-lines", "", 0.95},
	} {
		path := "/containerLogs/default/nginx/nginx" + load.query
		response := fauxlet.rawResponse(b, path)
		chunks := chunksOf(b, response)
		bare.send(b, benchCommand{Path: path, Chunks: chunks})
		if got := bare.rawResponse(b, path); !bytes.Equal(withoutDate(got), withoutDate(response)) {
			b.Fatalf("the responses differ; they begin with %.300q (bare) and %.300q", got, response)
		}
		megabytes := float64(len(slices.Concat(chunks...))) / 1e6

		b.Run(load.name, func(b *testing.B) {
			bare.measure(b, path) // both servers warm up
			fauxlet.measure(b, path)
			var cpu, wall, ourCPU, bareCPU, ourRate, bareRate []float64
			for range benchRounds {
				theirs, ours := bare.measure(b, path), fauxlet.measure(b, path)
				cpu, wall = append(cpu, theirs.cpu/ours.cpu), append(wall, ours.rate/theirs.rate)
				ourCPU, bareCPU = append(ourCPU, ours.cpu), append(bareCPU, theirs.cpu)
				ourRate, bareRate = append(ourRate, ours.rate), append(bareRate, theirs.rate)
			}
			for _, values := range [][]float64{cpu, wall, ourCPU, bareCPU, ourRate, bareRate} {
				slices.Sort(values)
			}
			const middle, last = benchRounds / 2, benchRounds - 1
			unit, units := "request", 1.0
			if megabytes > 1 {
				unit, units = "MB", megabytes
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(cpu[middle], "cpu-ratio")
			b.ReportMetric(wall[middle], "wall-ratio")
			fmt.Fprintf(os.Stderr, "%-19s CPU ratio %.2f (%.2f to %.2f, wanted %.2f), wall ratio %.2f (%.2f to %.2f); "+
				"CPU per %s: fauxlet %.0f µs, bare %.0f µs; requests/s: fauxlet %.0f, bare %.0f\n",
				load.name, cpu[middle], cpu[0], cpu[last], load.wanted, wall[middle], wall[0], wall[last],
				unit, ourCPU[middle]*1e6/units, bareCPU[middle]*1e6/units, ourRate[middle], bareRate[middle])
		})
	}
}

// benchServer is a server process to measure. It receives a benchCommand for each line of its standard input. On an
// additional pipe it first sends a benchAnswer with its address and certificates, and then one for each command.
type benchServer struct {
	kind    string
	input   *json.Encoder
	answers *json.Decoder
	output  bytes.Buffer // standard output and standard error; to be read when the process has ended
	address string
	tls     *tls.Config
	client  *http.Client
}

// benchCommand is a command to a server process. If Path is set, the bare server responds to requests of this path and
// query with these chunks from then on.
type benchCommand struct {
	Path   string
	Chunks [][]byte
}

type benchAnswer struct {
	Address              string
	CA, Certificate, Key []byte        // PEM; Certificate is a client certificate
	CPU                  time.Duration // the CPU time that the process has used since its start
}

// startServer starts a server process. It ends when the benchmark ends.
func startServer(b *testing.B, kind string) *benchServer {
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	answers, childAnswers, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	s := &benchServer{kind: kind, answers: json.NewDecoder(answers)}
	command := exec.Command(program, "-test.run=^$", "-test.bench=^BenchmarkBeside$", "-test.benchtime=1x",
		"-test.outputdir="+flag.Lookup("test.outputdir").Value.String())
	for _, profile := range []string{"test.cpuprofile", "test.memprofile"} {
		if file := flag.Lookup(profile).Value.String(); file != "" {
			command.Args = append(command.Args, "-"+profile+"="+file+"."+kind)
		}
	}
	command.Env = append(os.Environ(), serverVariable+"="+kind)
	command.Stdout, command.Stderr = &s.output, &s.output
	command.ExtraFiles = []*os.File{childAnswers}
	input, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	s.input = json.NewEncoder(input)
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	childAnswers.Close()
	b.Cleanup(func() {
		input.Close()
		if err := command.Wait(); err != nil {
			b.Errorf("the server process %s: %v\n%s", kind, err, &s.output)
		}
		answers.Close()
	})

	first := s.answer(b)
	certificate, err := tls.X509KeyPair(first.Certificate, first.Key)
	if err != nil {
		b.Fatal(err)
	}
	s.address = first.Address
	s.tls = &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{certificate}}
	s.tls.RootCAs.AppendCertsFromPEM(first.CA)
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchConnections, TLSClientConfig: s.tls}}
	b.Cleanup(s.client.CloseIdleConnections)
	return s
}

// send sends a command to the process, and returns the answer.
func (s *benchServer) send(b *testing.B, command benchCommand) benchAnswer {
	b.Helper()
	if err := s.input.Encode(command); err != nil {
		b.Fatalf("the server process %s: %v", s.kind, err)
	}
	return s.answer(b)
}

func (s *benchServer) answer(b *testing.B) (answer benchAnswer) {
	b.Helper()
	if err := s.answers.Decode(&answer); err != nil {
		b.Fatalf("the server process %s: %v", s.kind, err)
	}
	return answer
}

// measured is the result of one round.
type measured struct {
	cpu  float64 // the server's CPU time for one request, in seconds
	rate float64 // responses per second
}

func (s *benchServer) measure(b *testing.B, path string) measured {
	before := s.send(b, benchCommand{}).CPU
	responses, rate := drive(b, s.client, "https://"+s.address+path, benchRound)
	cpu := s.send(b, benchCommand{}).CPU - before
	return measured{cpu: cpu.Seconds() / responses, rate: rate}
}

// rawResponse requests a path on a new connection, and returns all bytes of the response.
func (s *benchServer) rawResponse(b *testing.B, path string) []byte {
	connection, err := tls.Dial("tcp", s.address, s.tls)
	if err != nil {
		b.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: node-1\r\nConnection: close\r\n\r\n", path)
	response, err := io.ReadAll(connection)
	if err != nil {
		b.Fatal(err)
	}
	return response
}

var dateHeader = regexp.MustCompile(`(?m)^Date: .*$`)

func withoutDate(response []byte) []byte { return dateHeader.ReplaceAll(response, nil) }

// chunksOf returns the chunks in the body of a raw response.
func chunksOf(b *testing.B, response []byte) (chunks [][]byte) {
	const crlf = "\r\n"
	_, body, _ := bytes.Cut(response, []byte(crlf+crlf))
	for {
		line, rest, _ := bytes.Cut(body, []byte(crlf))
		var size int
		if _, err := fmt.Sscanf(string(line), "%x", &size); err != nil || len(rest) < size+len(crlf) {
			b.Fatalf("not a chunk: %.100q in a response that begins with %.100q", body, response)
		}
		if size == 0 {
			return chunks
		}
		chunks = append(chunks, rest[:size])
		body = rest[size+len(crlf):]
	}
}

// serveForBenchmark is the main function of a server process. It returns when standard input ends.
func serveForBenchmark(b *testing.B, kind string) {
	log, err := os.Create(b.TempDir() + "/log")
	if err != nil {
		b.Fatal(err)
	}
	logger, err := logging.New(log, "json", 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(logging.EndBatches)
	options := fixtureOptions{lines: benchLines, logger: logger, connections: server.NewConnectionLimit(100_000),
		observe: decisions.NewRecorder(decisions.DefaultSize).For("node-1")}
	var f *fixture
	var bare bareHandler
	if kind == serverBare {
		f = prepare(b, options)
		f.address = serveBare(b, f, &bare)
	} else {
		f = newFixture(b, options)
	}
	client, err := f.ca.Client("kubelet-client", nil)
	if err != nil {
		b.Fatal(err)
	}
	answer := benchAnswer{Address: f.address, CA: f.ca.CertPEM(), Certificate: client.CertPEM, Key: client.KeyPEM}
	commands, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.NewFile(3, "answers"))
	for {
		if err := answers.Encode(answer); err != nil {
			b.Fatal(err)
		}
		var command benchCommand
		if err := commands.Decode(&command); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			b.Fatal(err)
		}
		if command.Path != "" {
			bare.Store(command.Path, command.Chunks)
		}
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		answer = benchAnswer{CPU: time.Duration(usage.Utime.Nano() + usage.Stime.Nano())}
	}
}

// bareHandler serves responses that consist of fixed chunks. It maps a path with its query to the chunks.
type bareHandler struct{ sync.Map }

func (h *bareHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	chunks, _ := h.Load(r.RequestURI)
	// These are the headers of a kubelet's response with a log.
	w.Header().Set("Transfer-Encoding", "chunked")
	w.Header()["Content-Type"] = nil
	for _, chunk := range chunks.([][]byte) {
		w.Write(chunk)
	}
}

// serveBare serves the handler over TLS with the fixture's serving certificate, and returns the server's address.
func serveBare(b *testing.B, f *fixture, handler http.Handler) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{
		Handler:      handler,
		TLSConfig:    &tls.Config{Certificates: []tls.Certificate{f.serving.TLS()}, ClientAuth: tls.RequestClientCert},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	go server.ServeTLS(listener, "", "")
	b.Cleanup(func() { server.Close() })
	return listener.Addr().String()
}
