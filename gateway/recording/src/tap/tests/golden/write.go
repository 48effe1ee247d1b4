// Writes the streams of this folder with the libraries that kubectl and the API server use:
//
//	cd tests/counterparts/kubernetes && go run ../../../gateway/recording/src/tap/tests/golden/write.go
//
// Both ends are real, joined by a pipe whose writes are noted in their order.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// notes are the writes of both ends.
type notes struct {
	sync.Mutex
	lines []string
}

// noted is an end of a connection whose writes go one way.
type noted struct {
	net.Conn
	way   string
	notes *notes
	// skip holds back the notes until the heads of an upgrade have passed.
	skip *bool
}

func (c noted) Write(bytes []byte) (int, error) {
	c.notes.Lock()
	if c.skip == nil || !*c.skip {
		c.notes.lines = append(c.notes.lines, fmt.Sprintf("%s %x", c.way, bytes))
	}
	c.notes.Unlock()
	return c.Conn.Write(bytes)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func (n *notes) keep(name string) {
	_, source, _, _ := runtime.Caller(0)
	n.Lock()
	defer n.Unlock()
	check(os.WriteFile(filepath.Join(filepath.Dir(source), name), []byte(strings.Join(n.lines, "\n")+"\n"), 0o644))
}

// pair joins two ends over a real socket, which buffers.
func pair(n *notes) (client, server net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	accepted := make(chan net.Conn)
	go func() {
		conn, err := listener.Accept()
		check(err)
		accepted <- conn
	}()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	check(err)
	return noted{dialled, "up", n, nil}, noted{<-accepted, "down", n, nil}
}

func read(stream io.Reader, expected string) {
	got := make([]byte, len(expected))
	_, err := io.ReadFull(stream, got)
	check(err)
	if string(got) != expected {
		panic(fmt.Sprintf("%q, not %q", got, expected))
	}
}

// serve gives the streams that a client opens.
func serve(conn net.Conn) (httpstream.Connection, <-chan httpstream.Stream) {
	streams := make(chan httpstream.Stream, 16)
	server, err := spdy.NewServerConnection(conn, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	check(err)
	return server, streams
}

func headers(pairs ...string) http.Header {
	header := http.Header{}
	for at := 0; at < len(pairs); at += 2 {
		header.Set(pairs[at], pairs[at+1])
	}
	return header
}

func command() {
	n := &notes{}
	up, down := pair(n)
	client, err := spdy.NewClientConnection(up)
	check(err)
	_, streams := serve(down)
	ours, theirs := map[string]httpstream.Stream{}, map[string]httpstream.Stream{}
	for _, kind := range []string{"error", "stdin", "stdout", "resize"} {
		ours[kind], err = client.CreateStream(headers("streamType", kind))
		check(err)
		theirs[kind] = <-streams
	}
	say := func(from, to httpstream.Stream, text string) {
		_, err := io.WriteString(from, text)
		check(err)
		read(to, text)
	}
	say(ours["resize"], theirs["resize"], "{\"Width\":80,\"Height\":24}\n")
	say(theirs["stdout"], ours["stdout"], "$ ")
	say(ours["stdin"], theirs["stdin"], "cat\r")
	say(theirs["stdout"], ours["stdout"], "cat\r\n"+strings.Repeat("0123456789", 1000))
	check(ours["stdin"].Close())
	say(theirs["error"], ours["error"], "{\"status\":\"Success\"}")
	check(theirs["error"].Close())
	check(theirs["stdout"].Close())
	check(ours["resize"].Reset())
	read(ours["stdout"], "")
	n.keep("spdy_command.txt")
}

func forward(name string, up, down net.Conn, n *notes) {
	client, err := spdy.NewClientConnection(up)
	check(err)
	_, streams := serve(down)
	for request, port := range []string{"80", "443"} {
		id := fmt.Sprint(request)
		bad, err := client.CreateStream(headers("streamType", "error", "port", port, "requestID", id))
		check(err)
		theirBad := <-streams
		check(bad.Close())
		data, err := client.CreateStream(headers("streamType", "data", "port", port, "requestID", id))
		check(err)
		theirData := <-streams
		_, err = io.WriteString(data, "GET "+port)
		check(err)
		read(theirData, "GET "+port)
		_, err = io.WriteString(theirData, "OK "+port)
		check(err)
		read(data, "OK "+port)
		check(theirData.Close())
		check(theirBad.Close())
		check(data.Close())
		_, err = io.ReadAll(theirData)
		check(err)
	}
	check(client.Close())
	<-client.CloseChan()
	n.keep(name)
}

// upgraded are both ends of a WebSocket behind its heads, the server's as `serve` makes it.
func upgraded(n *notes, protocol string, serve http.HandlerFunc) *websocket.Conn {
	skip := true
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve(w, r) }))
	server.Listener = listener{server.Listener, n, &skip}
	server.Start()
	dialer := websocket.Dialer{
		Subprotocols:   []string{protocol},
		ReadBufferSize: 33 * 1024, WriteBufferSize: 33 * 1024,
		NetDial: func(network, address string) (net.Conn, error) {
			conn, err := net.Dial(network, address)
			return noted{conn, "up", n, &skip}, err
		},
	}
	conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	check(err)
	n.Lock()
	skip = false
	n.Unlock()
	return conn
}

type listener struct {
	net.Listener
	notes *notes
	skip  *bool
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return noted{conn, "down", l.notes, l.skip}, err
}

// channels is a command over the server's own library for channels.
func channels(name, protocol string, isBase64 bool) {
	n := &notes{}
	opened, ended := make(chan []io.ReadWriteCloser), make(chan struct{})
	kinds := []wsstream.ChannelType{wsstream.ReadChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.WriteChannel, wsstream.ReadChannel}
	client := upgraded(n, protocol, func(w http.ResponseWriter, r *http.Request) {
		conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{protocol: {Binary: !isBase64, Channels: kinds}})
		_, streams, err := conn.Open(w, r)
		check(err)
		opened <- streams
		<-ended
		check(conn.Close())
	})
	streams := <-opened
	say := func(kind int, message []byte, channel int, expected string) {
		check(client.WriteMessage(kind, message))
		read(streams[channel], expected)
	}
	hear := func(channel int, text string) {
		_, err := io.WriteString(streams[channel], text)
		check(err)
		_, _, err = client.ReadMessage()
		check(err)
	}
	hear(1, "")
	if isBase64 {
		say(websocket.TextMessage, []byte("4e30="), 4, "{}")
		say(websocket.TextMessage, []byte("0bHMN"), 0, "ls\r")
	} else {
		say(websocket.BinaryMessage, []byte("\x04{}"), 4, "{}")
		check(client.WriteMessage(websocket.PingMessage, nil))
		say(websocket.BinaryMessage, []byte("\x00ls\r"), 0, "ls\r")
	}
	hear(1, strings.Repeat("file\r\n", 2000))
	hear(2, "oops")
	if protocol == "v5.channel.k8s.io" {
		check(client.WriteMessage(websocket.BinaryMessage, []byte{255, 0}))
		rest, err := io.ReadAll(streams[0])
		check(err)
		if !bytes.Equal(rest, nil) {
			panic("more input")
		}
	}
	hear(3, "{\"status\":\"Success\"}")
	close(ended)
	_, _, err := client.ReadMessage() // answers the close
	if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		panic(err)
	}
	n.keep(name)
}

func tunnel() {
	n := &notes{}
	conns, ended := make(chan *websocket.Conn), make(chan struct{})
	client := upgraded(n, "SPDY/3.1+portforward.k8s.io", func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io"}}
		conn, err := upgrader.Upgrade(w, r, nil)
		check(err)
		conns <- conn
		<-ended
	})
	up := portforward.NewTunnelingConnection("client", client)
	down := portforward.NewTunnelingConnection("server", <-conns)
	forward("tunnel.txt", up, down, n)
	close(ended)
}

func main() {
	command()
	n := &notes{}
	up, down := pair(n)
	forward("spdy_forward.txt", up, down, n)
	channels("channels_v5.txt", "v5.channel.k8s.io", false)
	channels("channels_v4_base64.txt", "v4.base64.channel.k8s.io", true)
	tunnel()
}
