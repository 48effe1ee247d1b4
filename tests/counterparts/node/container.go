package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	core "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// container is one started process of a pod, from start to exit. A restart makes a new one.
type container struct {
	id, name  string
	pod       *core.Pod
	spec      core.Container
	folder    string
	logPath   string
	restarts  int32
	startedAt time.Time
	output    *fanout
	stdin     io.WriteCloser // nil unless the spec asks for stdin
	terminal  *os.File       // nil unless the spec asks for a terminal
	done      chan struct{}

	mu         sync.Mutex
	finishedAt time.Time
	exitCode   int32
	process    *os.Process
}

// start runs the container's command. Its output goes to the log file in the CRI format and to whoever attached.
func (c *container) start(environment []string) error {
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return err
	}
	log, err := openLog(c.logPath)
	if err != nil {
		return err
	}
	c.output = &fanout{log: log}
	command := c.command(environment)
	if c.spec.TTY {
		err = c.startOnTerminal(command)
	} else {
		err = c.startOnPipes(command)
	}
	if err != nil {
		log.close()
		return err
	}
	c.startedAt = time.Now()
	c.process = command.Process
	go c.wait(command)
	return nil
}

func (c *container) command(environment []string) *exec.Cmd {
	words := append(append([]string{}, c.spec.Command...), c.spec.Args...)
	if len(c.spec.Command) == 0 { // no image, so no entry point of its own
		self, err := os.Executable()
		if err != nil {
			self = os.Args[0]
		}
		words = []string{self, "pause"}
	}
	command := exec.Command(words[0], words[1:]...)
	command.Dir, command.Env = c.folder, environment
	if c.spec.WorkingDir != "" && !filepath.IsAbs(c.spec.WorkingDir) {
		command.Dir = filepath.Join(c.folder, c.spec.WorkingDir)
	}
	command.WaitDelay = 2 * time.Second // a grandchild that keeps the pipe does not keep the container
	return command
}

func (c *container) startOnTerminal(command *exec.Cmd) error {
	terminal, err := startTerminal(command, nil)
	if err != nil {
		return err
	}
	c.terminal = terminal
	if c.spec.Stdin {
		c.stdin = terminal
	}
	c.output.copying.Add(1)
	go func() {
		defer c.output.copying.Done()
		_, _ = io.Copy(c.output.stdout(), terminal)
	}()
	return nil
}

func (c *container) startOnPipes(command *exec.Cmd) error {
	command.Stdout, command.Stderr = c.output.stdout(), c.output.stderr()
	if c.spec.Stdin {
		stdin, err := command.StdinPipe()
		if err != nil {
			return err
		}
		c.stdin = stdin
	}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return onSpawner(command.Start)
}

func (c *container) wait(command *exec.Cmd) {
	err := command.Wait()
	// What the command left behind in its group must not outlive its container.
	_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	if c.terminal != nil {
		c.output.copying.Wait()
		_ = c.terminal.Close()
	}
	c.output.close()
	c.mu.Lock()
	c.finishedAt, c.exitCode = time.Now(), int32(exitCode(err))
	c.mu.Unlock()
	close(c.done)
}

// stop asks the process group to end and makes it end after grace.
func (c *container) stop(grace time.Duration) {
	group := -c.process.Pid
	select {
	case <-c.done:
		return
	default:
	}
	if grace > 0 {
		_ = syscall.Kill(group, syscall.SIGTERM)
		select {
		case <-c.done:
			return
		case <-time.After(grace):
		}
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-c.done
}

func (c *container) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *container) exit() (int32, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exitCode, c.finishedAt
}

// startTerminal starts the command as leader of a session on a terminal of its own. `first` is its size, if known.
func startTerminal(command *exec.Cmd, first *remotecommand.TerminalSize) (*os.File, error) {
	var terminal *os.File
	err := onSpawner(func() (err error) {
		attributes := &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
		var size *pty.Winsize
		if first != nil {
			size = &pty.Winsize{Cols: first.Width, Rows: first.Height}
		}
		terminal, err = pty.StartWithAttrs(command, size, attributes)
		return err
	})
	return terminal, err
}

// exitCode is the number a shell would see: 128 + signal for a process that was killed.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return 0
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal())
		}
		return exit.ExitCode()
	default:
		return 127
	}
}

// The death signal of a child belongs to the thread that made it, so one thread that never ends makes them all.
var spawner = func() chan func() {
	jobs := make(chan func())
	go func() {
		goruntime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
}()

func onSpawner(start func() error) error {
	result := make(chan error, 1)
	spawner <- func() { result <- start() }
	return <-result
}
