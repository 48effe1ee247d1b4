package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

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
	address := c.subresource(pod, "exec", options)
	streams := remotecommand.StreamOptions{Stdout: os.Stdout, Tty: tty != ""}
	if stdin {
		streams.Stdin = os.Stdin
	}
	if tty == "" {
		streams.Stderr = os.Stderr
	} else {
		var size remotecommand.TerminalSize
		if _, err := fmt.Sscanf(tty, "%dx%d", &size.Width, &size.Height); err != nil {
			return fmt.Errorf("--tty %s: %w", tty, err)
		}
		streams.TerminalSizeQueue = &oneSize{size: &size, over: ctx.Done()}
	}
	return c.stream(ctx, address, streams)
}

func (c *caller) attach(ctx context.Context, pod, container string, stdin bool) error {
	options := &core.PodAttachOptions{Container: container, Stdin: stdin, Stdout: true, Stderr: true}
	streams := remotecommand.StreamOptions{Stdout: os.Stdout, Stderr: os.Stderr}
	if stdin {
		streams.Stdin = os.Stdin
	}
	return c.stream(ctx, c.subresource(pod, "attach", options), streams)
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

// oneSize is a terminal that never changes its size.
type oneSize struct {
	size *remotecommand.TerminalSize
	over <-chan struct{}
}

func (o *oneSize) Next() *remotecommand.TerminalSize {
	if size := o.size; size != nil {
		o.size = nil
		return size
	}
	<-o.over
	return nil
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
