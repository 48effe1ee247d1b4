package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// longestLogLine is where the container runtimes split a line into parts.
const longestLogLine = 16 * 1024

// logFile writes the CRI log format: `TIME STREAM F|P TEXT`, one line per line of output.
type logFile struct {
	mu      sync.Mutex
	file    *os.File
	pending map[string][]byte
}

func openLog(path string) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &logFile{file: file, pending: map[string][]byte{}}, nil
}

func (l *logFile) write(stream string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := append(l.pending[stream], data...)
	for {
		end := bytes.IndexByte(rest, '\n')
		switch {
		case end >= 0 && end <= longestLogLine:
			l.line(stream, "F", rest[:end])
			rest = rest[end+1:]
		case len(rest) > longestLogLine:
			l.line(stream, "P", rest[:longestLogLine])
			rest = rest[longestLogLine:]
		default:
			l.pending[stream] = append([]byte(nil), rest...)
			return
		}
	}
}

func (l *logFile) line(stream, tag string, text []byte) {
	fmt.Fprintf(l.file, "%s %s %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, tag, text)
}

// close writes what had no line end yet.
func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for stream, rest := range l.pending {
		if len(rest) > 0 {
			l.line(stream, "P", rest)
		}
	}
	_ = l.file.Close()
}

// fanout gives a container's output to its log and to everyone attached. A writer that fails is dropped; a slow one
// slows the container, as with the real runtimes.
type fanout struct {
	log     *logFile
	copying sync.WaitGroup // the copy of a terminal's output
	mu      sync.Mutex
	next    int
	outs    map[int]attached
}

type attached struct{ stdout, stderr io.Writer }

type fanoutStream struct {
	to     *fanout
	stream string
}

func (f *fanout) stdout() io.Writer { return fanoutStream{f, "stdout"} }
func (f *fanout) stderr() io.Writer { return fanoutStream{f, "stderr"} }

func (s fanoutStream) Write(data []byte) (int, error) {
	s.to.log.write(s.stream, data)
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	for id, out := range s.to.outs {
		writer := out.stdout
		if s.stream == "stderr" {
			writer = out.stderr
		}
		if writer == nil {
			continue
		}
		if _, err := writer.Write(data); err != nil {
			delete(s.to.outs, id)
		}
	}
	return len(data), nil
}

func (f *fanout) attach(out attached) (detach func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outs == nil {
		f.outs = map[int]attached{}
	}
	id := f.next
	f.next++
	f.outs[id] = out
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.outs, id)
	}
}

func (f *fanout) close() { f.log.close() }
