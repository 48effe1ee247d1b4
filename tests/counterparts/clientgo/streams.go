package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// refused says when client-go's own tools try SPDY after WebSocket.
func refused(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

func (c *caller) exec(ctx context.Context, pod, container string, command []string, stdin bool, tty string) error {
	options := &core.PodExecOptions{
		Container: container, Command: command, Stdin: stdin, Stdout: true, Stderr: tty == "", TTY: tty != "",
	}
	streams, err := streamsOf(ctx, stdin, tty)
	if err != nil {
		return err
	}
	return c.stream(ctx, c.subresource(pod, "exec", options), streams)
}

func (c *caller) attach(ctx context.Context, pod, container string, stdin bool, tty string) error {
	options := &core.PodAttachOptions{
		Container: container, Stdin: stdin, Stdout: true, Stderr: tty == "", TTY: tty != "",
	}
	streams, err := streamsOf(ctx, stdin, tty)
	if err != nil {
		return err
	}
	return c.stream(ctx, c.subresource(pod, "attach", options), streams)
}

// streamsOf joins the streams of this process, with a terminal where sizes of one are given.
func streamsOf(ctx context.Context, stdin bool, tty string) (remotecommand.StreamOptions, error) {
	streams := remotecommand.StreamOptions{Stdout: os.Stdout, Tty: tty != ""}
	if stdin {
		streams.Stdin = os.Stdin
	}
	if tty == "" {
		streams.Stderr = os.Stderr
		return streams, nil
	}
	window := &window{lines: make(chan struct{}, 64), over: ctx.Done()}
	for _, text := range strings.Split(tty, ",") {
		var size remotecommand.TerminalSize
		if _, err := fmt.Sscanf(text, "%dx%d", &size.Width, &size.Height); err != nil {
			return streams, fmt.Errorf("--tty %s: %w", tty, err)
		}
		window.sizes = append(window.sizes, size)
	}
	streams.Stdout, streams.TerminalSizeQueue = window, window
	return streams, nil
}

func (c *caller) subresource(pod, name string, options any) *url.URL {
	request := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(c.namespace).Name(pod).SubResource(name)
	switch options := options.(type) {
	case *core.PodExecOptions:
		request = request.VersionedParams(options, scheme.ParameterCodec)
	case *core.PodAttachOptions:
		request = request.VersionedParams(options, scheme.ParameterCodec)
	}
	return request.URL()
}

func (c *caller) stream(ctx context.Context, address *url.URL, streams remotecommand.StreamOptions) error {
	executor, err := c.executor(address)
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, streams)
}

func (c *caller) executor(address *url.URL) (remotecommand.Executor, error) {
	overSPDY, err := remotecommand.NewSPDYExecutor(c.config, http.MethodPost, address)
	if err != nil || c.protocol == "spdy" {
		return overSPDY, err
	}
	overWebSocket, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, address.String())
	if err != nil || c.protocol == "ws" {
		return overWebSocket, err
	}
	return remotecommand.NewFallbackExecutor(overWebSocket, overSPDY, refused)
}

// window is a terminal as a person has one: it gets its next size when the pod has said a line, so that each size is seen
// before the next one comes.
type window struct {
	sizes []remotecommand.TerminalSize
	given int
	lines chan struct{}
	over  <-chan struct{}
}

func (w *window) Write(bytes []byte) (int, error) {
	for _, letter := range bytes {
		if letter != '\n' {
			continue
		}
		select {
		case w.lines <- struct{}{}:
		default: // More lines than sizes.
		}
	}
	return os.Stdout.Write(bytes)
}

func (w *window) Next() *remotecommand.TerminalSize {
	if w.given > 0 && w.given < len(w.sizes) {
		select {
		case <-w.lines:
		case <-w.over:
			return nil
		}
	}
	if w.given == len(w.sizes) {
		<-w.over
		return nil
	}
	w.given++
	return &w.sizes[w.given-1]
}

// portForward joins standard input and output to a port of the pod, through a local port as kubectl does.
func (c *caller) portForward(pod, port string, halfClose bool) error {
	dialer, err := c.dialer(c.subresource(pod, "portforward", nil))
	if err != nil {
		return err
	}
	stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{"0:" + port}, stop, ready,
		io.Discard, os.Stderr)
	if err != nil {
		return err
	}
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return err
	}
	err = converse(fmt.Sprintf("127.0.0.1:%d", ports[0].Local), halfClose)
	close(stop)
	if forwarding := <-ended; err == nil {
		err = forwarding
	}
	return err
}

func (c *caller) dialer(address *url.URL) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	overSPDY := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)
	if c.protocol == "spdy" {
		return overSPDY, nil
	}
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(address, c.config)
	if err != nil || c.protocol == "ws" {
		return overWebSocket, err
	}
	return portforward.NewFallbackDialerForStreaming(overWebSocket, overSPDY, refused), nil
}

func converse(address string, halfClose bool) error {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer connection.Close()
	if _, err := io.Copy(connection, os.Stdin); err != nil {
		return err
	}
	if halfClose {
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
	}
	_, err = io.Copy(os.Stdout, connection)
	return err
}
