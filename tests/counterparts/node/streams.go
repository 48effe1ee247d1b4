package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/creack/pty"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

var _ streaming.Runtime = (*runtime)(nil)

// Exec runs a command beside the container, in its folder and environment.
func (r *runtime) Exec(ctx context.Context, id string, words []string, in io.Reader, out, errOut io.WriteCloser,
	tty bool, resize <-chan remotecommand.TerminalSize,
) error {
	c, ok := r.container(id)
	if !ok || !c.running() {
		return fmt.Errorf("container %q is not running", id)
	}
	worker, ok := r.pod(c.pod.Namespace, c.pod.Name)
	if !ok || len(words) == 0 {
		return fmt.Errorf("nothing to run in container %q", id)
	}
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	command.Dir, command.Env = c.folder, worker.environment(c.spec)
	command.WaitDelay = 2 * time.Second
	var err error
	if tty {
		err = execOnTerminal(command, in, out, resize)
	} else {
		err = execOnPipes(command, in, out, errOut)
	}
	linger(ctx)
	if err == nil {
		return nil
	}
	return utilexec.CodeExitError{Err: err, Code: exitCode(err)}
}

// linger keeps the connection for a moment after the last output. Whoever returns ends the connection, and a SPDY reader
// on the way (spdystream: the API server's, a client's) drops what it has received and not yet handed on when that comes;
// on a busy machine it has not. The runtimes that people use lose such output, too.
func linger(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(250 * time.Millisecond):
	}
}

func execOnPipes(command *exec.Cmd, in io.Reader, out, errOut io.WriteCloser) error {
	if out != nil {
		command.Stdout = out
	}
	if errOut != nil {
		command.Stderr = errOut
	}
	var stdin io.WriteCloser
	if in != nil {
		var err error
		if stdin, err = command.StdinPipe(); err != nil {
			return err
		}
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := onSpawner(command.Start); err != nil {
		return err
	}
	if stdin != nil {
		go func() { // Wait must not wait for a client that keeps its side open
			_, _ = io.Copy(stdin, in)
			_ = stdin.Close()
		}()
	}
	return command.Wait()
}

func execOnTerminal(command *exec.Cmd, in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error {
	terminal, err := startTerminal(command, nil)
	if err != nil {
		return err
	}
	go follow(terminal, resize)
	if in != nil {
		go func() { _, _ = io.Copy(terminal, in) }()
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		if out == nil {
			out = io.Discard
		}
		_, _ = io.Copy(out, terminal)
		_ = terminal.Close() // the client is gone or the session has ended: hang up
	}()
	err = command.Wait()
	select {
	case <-copied:
	case <-time.After(2 * time.Second): // a background process still holds the terminal
		_ = terminal.Close()
	}
	return err
}

// Attach joins the container's main process.
func (r *runtime) Attach(ctx context.Context, id string, in io.Reader, out, errOut io.WriteCloser,
	_ bool, resize <-chan remotecommand.TerminalSize,
) error {
	c, ok := r.container(id)
	if !ok || !c.running() {
		return fmt.Errorf("container %q is not running", id)
	}
	joined := attached{}
	if out != nil {
		joined.stdout = out
	}
	if errOut != nil {
		joined.stderr = errOut
	}
	defer c.output.attach(joined)()
	if c.terminal != nil {
		go follow(c.terminal, resize)
	}
	if in != nil && c.stdin != nil {
		go func() {
			_, err := io.Copy(c.stdin, in)
			if err == nil && c.spec.StdinOnce && c.terminal == nil {
				_ = c.stdin.Close()
			}
		}()
	}
	select {
	case <-c.done:
		linger(ctx)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PortForward joins the stream to a port of the pod, which is a port of this machine.
func (r *runtime) PortForward(ctx context.Context, _ string, port int32, stream io.ReadWriteCloser) error {
	var dialer net.Dialer
	upstream, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer upstream.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(upstream, stream)
		if half, ok := upstream.(*net.TCPConn); ok {
			_ = half.CloseWrite()
		}
	}()
	_, err = io.Copy(stream, upstream)
	_ = stream.Close()
	return err
}

// follow gives the terminal each size that the client reports.
func follow(terminal *os.File, resize <-chan remotecommand.TerminalSize) {
	for size := range resize {
		_ = pty.Setsize(terminal, &pty.Winsize{Cols: size.Width, Rows: size.Height})
	}
}

// logRuntime answers the one question that the kubelet's log reader asks of a runtime.
type logRuntime struct {
	internalapi.RuntimeService
	runtime *runtime
}

func (l logRuntime) ContainerStatus(_ context.Context, id string, _ bool) (*runtimeapi.ContainerStatusResponse, error) {
	c, ok := l.runtime.container(id)
	if !ok {
		return nil, status.Errorf(codes.NotFound, "container %q", id)
	}
	state := runtimeapi.ContainerState_CONTAINER_EXITED
	if c.running() {
		state = runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{Id: id, State: state}}, nil
}
