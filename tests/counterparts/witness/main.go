// Command publicwitness is a witness (C2SP tlog-witness) on public libraries alone: golang.org/x/mod/sumdb/note and transparency-dev's
// formats and merkle. It knows none of our code, remembers in memory, and listens on a free port of the loopback for as long as its
// standard input is open.
//
//	publicwitness NAME KEY…      witnesses the logs of these public keys; says its own public key and its URL on standard output
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	formats "github.com/transparency-dev/formats/log"
	cosigned "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type witness struct {
	signer note.Signer
	mutex  sync.Mutex
	logs   map[string]*log
}

type log struct {
	key  note.Verifier
	size uint64
	root []byte
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: publicwitness NAME KEY…")
	}
	secret, plain, err := note.GenerateKey(rand.Reader, arguments[0])
	if err != nil {
		return err
	}
	signer, err := cosigned.NewSignerForCosignatureV1(secret)
	if err != nil {
		return err
	}
	public, err := cosigned.VKeyToCosignatureV1(plain)
	if err != nil {
		return err
	}
	ours := &witness{signer: signer, logs: make(map[string]*log)}
	for _, text := range arguments[1:] {
		key, err := note.NewVerifier(text)
		if err != nil {
			return err
		}
		ours.logs[key.Name()] = &log{key: key}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := http.NewServeMux()
	handler.HandleFunc("POST /add-checkpoint", ours.add)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(public)
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, handler)
}

func (w *witness) add(answer http.ResponseWriter, request *http.Request) {
	old, hashes, text, err := parse(http.MaxBytesReader(answer, request.Body, 16<<10))
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	origin, _, _ := strings.Cut(text, "\n")
	w.mutex.Lock()
	defer w.mutex.Unlock()
	known := w.logs[origin]
	if known == nil {
		http.Error(answer, "unknown log", http.StatusNotFound)
		return
	}
	checkpoint, _, opened, err := formats.ParseCheckpoint([]byte(text), origin, known.key)
	switch {
	case err != nil:
		http.Error(answer, err.Error(), http.StatusForbidden)
		return
	case old > checkpoint.Size:
		http.Error(answer, "the checkpoint is smaller", http.StatusBadRequest)
		return
	case old != known.size:
		answer.Header().Set("Content-Type", "text/x.tlog.size")
		answer.WriteHeader(http.StatusConflict)
		fmt.Fprintf(answer, "%d\n", known.size)
		return
	case old > 0 && old == checkpoint.Size && !bytes.Equal(known.root, checkpoint.Hash):
		http.Error(answer, "another root", http.StatusConflict)
		return
	case old == 0 && len(hashes) > 0:
		err = errors.New("a proof from nothing")
	case old > 0:
		err = proof.VerifyConsistency(rfc6962.DefaultHasher, old, checkpoint.Size, hashes, known.root, checkpoint.Hash)
	}
	if err != nil {
		http.Error(answer, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	signed, err := note.Sign(&note.Note{Text: opened.Text}, w.signer)
	if err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	known.size, known.root = checkpoint.Size, checkpoint.Hash
	_, line, _ := bytes.Cut(signed, []byte("\n\n"))
	_, _ = answer.Write(line)
}

// parse takes a request apart: the old size, the hashes of the proof, the signed checkpoint.
func parse(body io.Reader) (uint64, [][]byte, string, error) {
	all, err := io.ReadAll(body)
	if err != nil {
		return 0, nil, "", err
	}
	head, text, found := strings.Cut(string(all), "\n\n")
	lines := bufio.NewScanner(strings.NewReader(head))
	if !found || !lines.Scan() {
		return 0, nil, "", errors.New("no empty line")
	}
	size, found := strings.CutPrefix(lines.Text(), "old ")
	if !found {
		return 0, nil, "", errors.New("no old size")
	}
	old, err := strconv.ParseUint(size, 10, 63)
	if err != nil {
		return 0, nil, "", err
	}
	var hashes [][]byte
	for lines.Scan() {
		hash, err := base64.StdEncoding.DecodeString(lines.Text())
		if err != nil {
			return 0, nil, "", err
		}
		hashes = append(hashes, hash)
	}
	return old, hashes, text, nil
}
