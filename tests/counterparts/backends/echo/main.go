// Command echo answers each request that Go's net/http parsed with what it saw, and writes the same line into a journal.
//
//	echo -listen ADDRESS -journal FILE [-cert FILE -key FILE] [-h2c]
//
// Started by another server through the Common Gateway Interface (RFC 3875), it says what that server handed on, and takes
// the journal's name from JOURNAL.
//
// What Go keeps: the target and each value as they came, values of one name in their order. What it does not keep: how a name
// was written and how names stood to one another; they are told in alphabetical order, Host and Transfer-Encoding first.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Pair is a name and a value, both in base64: JSON has no bytes.
type Pair [2]string

// Body is what came behind the head.
type Body struct {
	Length   int64  `json:"length"`
	Sha256   string `json:"sha256"`
	Complete bool   `json:"complete"`
}

// Seen is one request.
type Seen struct {
	Method      string `json:"method"`
	Target      string `json:"target"`
	Headers     []Pair `json:"headers"`
	Trailers    []Pair `json:"trailers,omitempty"`
	Environment []Pair `json:"environment,omitempty"`
	Body        Body   `json:"body"`
}

func main() {
	// Before any flag is read: a server hands a query without `=` to a CGI program as its arguments.
	if os.Getenv("GATEWAY_INTERFACE") != "" {
		if err := gatewayInterface(); err != nil {
			log.Fatal(err)
		}
		return
	}
	listen := flag.String("listen", "", "where to listen")
	file := flag.String("journal", "", "where a line is added for each request")
	cert := flag.String("cert", "", "certificate, for TLS")
	key := flag.String("key", "", "its key")
	h2c := flag.Bool("h2c", false, "HTTP/2 without TLS too")
	flag.Parse()
	journal, err := open(*file)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(*h2c)
	server := &http.Server{
		Handler:                      echo{journal: journal},
		Protocols:                    protocols,
		DisableGeneralOptionsHandler: true,
	}
	if *cert != "" {
		log.Fatal(server.ServeTLS(listener, *cert, *key))
	}
	log.Fatal(server.Serve(listener))
}

type echo struct {
	journal *journal
}

func (e echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := Seen{Method: encoded(r.Method), Target: encoded(r.RequestURI), Headers: []Pair{pair("Host", r.Host)}}
	for _, coding := range r.TransferEncoding {
		seen.Headers = append(seen.Headers, pair("Transfer-Encoding", coding))
	}
	seen.Headers = append(seen.Headers, pairs(r.Header)...)
	seen.Body = digest(r.Body)
	seen.Trailers = pairs(r.Trailer)
	line, err := e.journal.add(seen)
	if err != nil {
		log.Print(err)
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(line)))
	w.Write(line)
}

func gatewayInterface() error {
	journal, err := open(os.Getenv("JOURNAL"))
	if err != nil {
		return err
	}
	seen := Seen{Method: encoded(os.Getenv("REQUEST_METHOD")), Target: encoded(os.Getenv("REQUEST_URI"))}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		seen.Environment = append(seen.Environment, pair(name, value))
	}
	seen.Body = digest(os.Stdin)
	if length, err := strconv.ParseInt(os.Getenv("CONTENT_LENGTH"), 10, 64); err == nil && length != seen.Body.Length {
		seen.Body.Complete = false
	}
	line, err := journal.add(seen)
	if err != nil {
		return err
	}
	fmt.Printf("Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
	return nil
}

func encoded(text string) string {
	return base64.StdEncoding.EncodeToString([]byte(text))
}

func pair(name, value string) Pair {
	return Pair{encoded(name), encoded(value)}
}

func pairs(fields http.Header) []Pair {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	var all []Pair
	for _, name := range names {
		for _, value := range fields[name] {
			all = append(all, pair(name, value))
		}
	}
	return all
}

func digest(from io.Reader) Body {
	hash := sha256.New()
	length, err := io.Copy(hash, from)
	return Body{Length: length, Sha256: hex.EncodeToString(hash.Sum(nil)), Complete: err == nil}
}

type journal struct {
	mutex sync.Mutex
	file  *os.File
}

func open(name string) (*journal, error) {
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return &journal{file: file}, err
}

// add writes before anybody answers: a request counts also where its answer is lost.
func (j *journal) add(seen Seen) ([]byte, error) {
	line, err := json.Marshal(seen)
	if err != nil {
		return nil, err
	}
	line = append(line, '\n')
	j.mutex.Lock()
	defer j.mutex.Unlock()
	_, err = j.file.Write(line)
	return line, err
}
