// Command web serves what a gateway in front of a service has to carry: streams that go on, WebSockets, ranges, large bodies both
// ways, interim answers, trailers, HTTP/1.0, and answers that wait until somebody lets them go. On Go's net/http and
// gorilla/websocket.
//
//	web -listen ADDRESS [-socket PATH] [-cert FILE -key FILE] [-h2c]
//
// On a unix socket, if there is one, it serves the same without TLS.
//
//	GET  /events?stream=S       server-sent events: one for each POST /say?stream=S, until the client leaves
//	GET  /socket?stream=S       a WebSocket that sends back what comes, and what is said on S
//	GET  /bytes?size=N          N bytes that no disk holds, with ranges (multipart ones too), ETag and If-Range
//	POST /digest                length and SHA-256 of the body
//	POST /refuse                413 without a look at the body: who asked with Expect: 100-continue is not told to go on
//	GET  /old?size=N            an answer of HTTP/1.0 whose end is the connection's
//	GET  /early                 103 (RFC 8297) with two fields Link, then 200
//	GET  /trailers              an answer with trailers, one of them announced
//	GET  /held?gate=G&at=head   an answer that waits for POST /release?gate=G; at=body: its head and a first line come before
//	GET  /answer?status=N&field=NAME:VALUE…    any status and fields
//	GET  /state                 {"open":{S:n},"ended":{S:n},"waiting":{G:n}}
package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

func main() {
	listen := flag.String("listen", "", "where to listen")
	cert := flag.String("cert", "", "certificate, for TLS")
	key := flag.String("key", "", "its key")
	path := flag.String("socket", "", "a unix socket besides")
	h2c := flag.Bool("h2c", false, "HTTP/2 without TLS too")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(*h2c)
	server := &http.Server{Handler: routes(), Protocols: protocols}
	if *path != "" {
		socket, err := net.Listen("unix", *path)
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal(server.Serve(socket)) }()
	}
	if *cert != "" {
		log.Fatal(server.ServeTLS(listener, *cert, *key))
	}
	log.Fatal(server.Serve(listener))
}

func routes() http.Handler {
	s := &streams{
		listeners: map[string]map[chan string]bool{},
		ended:     map[string]int{},
		gates:     map[string]*gate{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /socket", s.socket)
	mux.HandleFunc("POST /say", s.say)
	mux.HandleFunc("GET /held", s.held)
	mux.HandleFunc("POST /release", s.release)
	mux.HandleFunc("GET /state", s.state)
	mux.HandleFunc("GET /bytes", bytes)
	mux.HandleFunc("POST /digest", digest)
	mux.HandleFunc("POST /refuse", refuse)
	mux.HandleFunc("GET /old", old)
	mux.HandleFunc("GET /early", early)
	mux.HandleFunc("GET /trailers", trailers)
	mux.HandleFunc("/answer", answer)
	return mux
}

// streams is who listens on which stream, how many have ended, and who waits at which gate.
type streams struct {
	mutex     sync.Mutex
	listeners map[string]map[chan string]bool
	ended     map[string]int
	gates     map[string]*gate
}

type gate struct {
	open    chan struct{}
	waiting int
}

// listen gives what is said on a stream from now on. A listener that does not read ends: nobody waits for it.
func (s *streams) listen(stream string) (chan string, func()) {
	said := make(chan string, 1024)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.listeners[stream] == nil {
		s.listeners[stream] = map[chan string]bool{}
	}
	s.listeners[stream][said] = true
	return said, func() {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		delete(s.listeners[stream], said)
		s.ended[stream]++
	}
}

func (s *streams) say(w http.ResponseWriter, r *http.Request) {
	words, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	heard := 0
	for said := range s.listeners[r.URL.Query().Get("stream")] {
		select {
		case said <- string(words):
			heard++
		default:
		}
	}
	fmt.Fprintln(w, heard)
}

func (s *streams) events(w http.ResponseWriter, r *http.Request) {
	said, end := s.listen(r.URL.Query().Get("stream"))
	defer end()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	fmt.Fprint(w, ": open\n\n")
	flush(w)
	for number := 1; ; number++ {
		select {
		case <-r.Context().Done():
			return
		case words := <-said:
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", number, strings.ReplaceAll(words, "\n", "\ndata: "))
			flush(w)
		}
	}
}

// The gateway decides about origins; this one lets everybody in, so that it is seen who does.
var upgrader = websocket.Upgrader{
	CheckOrigin:  func(*http.Request) bool { return true },
	Subprotocols: []string{"echo.bench"},
}

func (s *streams) socket(w http.ResponseWriter, r *http.Request) {
	connection, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	said, end := s.listen(r.URL.Query().Get("stream"))
	defer end()
	type message struct {
		kind int
		body []byte
	}
	came := make(chan message)
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(came)
		for {
			kind, body, err := connection.ReadMessage()
			if err != nil {
				return
			}
			select {
			case came <- message{kind, body}:
			case <-done:
				return
			}
		}
	}()
	for {
		var out message
		select {
		case words := <-said:
			out = message{websocket.TextMessage, []byte(words)}
		case in, open := <-came:
			if !open {
				return
			}
			out = in
		}
		if connection.WriteMessage(out.kind, out.body) != nil {
			return
		}
	}
}

func (s *streams) at(name string) *gate {
	if s.gates[name] == nil {
		s.gates[name] = &gate{open: make(chan struct{})}
	}
	return s.gates[name]
}

func (s *streams) held(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("at") == "body" {
		fmt.Fprintln(w, "begun")
		flush(w)
	}
	s.mutex.Lock()
	gate := s.at(r.URL.Query().Get("gate"))
	gate.waiting++
	s.mutex.Unlock()
	defer func() {
		s.mutex.Lock()
		gate.waiting--
		s.mutex.Unlock()
	}()
	select {
	case <-r.Context().Done():
	case <-gate.open:
		fmt.Fprintln(w, "done")
	}
}

func (s *streams) release(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	name := r.URL.Query().Get("gate")
	close(s.at(name).open)
	delete(s.gates, name)
}

func (s *streams) state(w http.ResponseWriter, _ *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	open, waiting := map[string]int{}, map[string]int{}
	for name, listeners := range s.listeners {
		open[name] = len(listeners)
	}
	for name, gate := range s.gates {
		waiting[name] = gate.waiting
	}
	tell(w, map[string]any{"open": open, "ended": s.ended, "waiting": waiting})
}

// generated is content of any size in blocks of 64 KiB: the number of the block (eight bytes, big-endian), and behind it what is the
// same in each, so that a gigabyte costs no more than copying it.
type generated struct {
	size, at int64
}

const blockSize = 64 << 10

// The eight bytes number k of a block are k times an odd constant: no two places look alike.
var block = func() (block [blockSize]byte) {
	for word := range uint64(blockSize / 8) {
		binary.BigEndian.PutUint64(block[word*8:], word*0x9E3779B97F4A7C15)
	}
	return block
}()

func (g *generated) Read(into []byte) (int, error) {
	if g.at >= g.size {
		return 0, io.EOF
	}
	into = into[:min(int64(len(into)), g.size-g.at)]
	done := 0
	for done < len(into) {
		inside := g.at % blockSize
		var copied int
		if inside < 8 {
			number := binary.BigEndian.AppendUint64(nil, uint64(g.at/blockSize))
			copied = copy(into[done:], number[inside:])
		} else {
			copied = copy(into[done:], block[inside:])
		}
		done += copied
		g.at += int64(copied)
	}
	return done, nil
}

func (g *generated) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += g.at
	case io.SeekEnd:
		offset += g.size
	}
	if offset < 0 {
		return 0, errors.New("before the beginning")
	}
	g.at = offset
	return offset, nil
}

func bytes(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, size))
	http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), &generated{size: size})
}

func digest(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	length, err := io.Copy(hash, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	tell(w, map[string]any{"length": length, "sha256": hex.EncodeToString(hash.Sum(nil))})
}

func refuse(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "too large", http.StatusRequestEntityTooLarge)
}

func old(w http.ResponseWriter, r *http.Request) {
	size, _ := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusHTTPVersionNotSupported)
		return
	}
	defer connection.Close()
	fmt.Fprint(buffered, "HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n")
	io.Copy(buffered, &generated{size: size})
	buffered.Flush()
}

func early(w http.ResponseWriter, _ *http.Request) {
	w.Header().Add("Link", "</style.css>; rel=preload; as=style")
	w.Header().Add("Link", "</script.js>; rel=preload; as=script")
	w.WriteHeader(http.StatusEarlyHints)
	fmt.Fprintln(w, "late")
}

func trailers(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Trailer", "X-Announced")
	fmt.Fprintln(w, "body")
	flush(w)
	w.Header().Set("X-Announced", "one")
	w.Header().Set(http.TrailerPrefix+"X-Unannounced", "two")
}

func answer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	for _, field := range query["field"] {
		name, value, _ := strings.Cut(field, ":")
		w.Header().Add(name, strings.TrimSpace(value))
	}
	status, err := strconv.Atoi(query.Get("status"))
	if err != nil || status < 200 || status > 999 {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	if status != http.StatusNoContent && status != http.StatusNotModified {
		fmt.Fprintln(w, "answered")
	}
}

func flush(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil {
		log.Print(err)
	}
}

func tell(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(what)
}
