// Command clientgo does what programs on client-go do to a cluster: run a command in a pod, join one, forward a port, read
// a log, watch an object. Its output is the pod's, byte for byte, and its exit code the command's; 1 for anything else,
// with the reason on standard error.
//
//	clientgo [--protocol ws|spdy|fallback] [--namespace NS] COMMAND …
//	  exec [--stdin] [--tty COLSxROWS[,COLSxROWS…]] POD CONTAINER -- WORDS…
//	  attach [--stdin] [--tty COLSxROWS[,COLSxROWS…]] POD CONTAINER
//	  portforward [--half-close] POD PORT      standard input to the port, its answer to standard output
//	  logs [--follow] POD CONTAINER
//	  watch CONFIGMAP                          one line per event until the server ends it
//	  proxy POD:PORT PATH                      what the pod answers
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/exec"
)

// caller is who asks, and how.
type caller struct {
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
	protocol  string
}

func main() {
	err := run(os.Args[1:])
	var ended exec.CodeExitError
	switch {
	case err == nil:
	case errors.As(err, &ended):
		os.Exit(ended.Code)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	flags := flag.NewFlagSet("clientgo", flag.ContinueOnError)
	protocol := flags.String("protocol", "fallback", "ws, spdy or fallback (ws first)")
	namespace := flags.String("namespace", "default", "namespace of the pod or object")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	c := &caller{config: config, client: client, namespace: *namespace, protocol: *protocol}
	return c.do(context.Background(), flags.Args())
}

func (c *caller) do(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return errors.New("no command")
	}
	flags := flag.NewFlagSet(arguments[0], flag.ContinueOnError)
	stdin := flags.Bool("stdin", false, "pass standard input on")
	tty := flags.String("tty", "", "a terminal of these sizes, COLSxROWS, the next one behind each line that the pod says")
	halfClose := flags.Bool("half-close", false, "close one direction when standard input ends")
	follow := flags.Bool("follow", false, "until the container ends")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	words := flags.Args()
	needs := map[string]int{"exec": 3, "attach": 2, "portforward": 2, "logs": 2, "watch": 1, "proxy": 2}
	if len(words) < needs[arguments[0]] {
		return fmt.Errorf("%s: too few words", arguments[0])
	}
	switch arguments[0] {
	case "exec":
		command := words[2:]
		if command[0] == "--" {
			command = command[1:]
		}
		return c.exec(ctx, words[0], words[1], command, *stdin, *tty)
	case "attach":
		return c.attach(ctx, words[0], words[1], *stdin, *tty)
	case "portforward":
		return c.portForward(words[0], words[1], *halfClose)
	case "logs":
		return c.logs(ctx, words[0], words[1], *follow)
	case "watch":
		return c.watch(ctx, words[0])
	case "proxy":
		return c.proxy(ctx, words[0], words[1])
	default:
		return fmt.Errorf("%s: no such command", arguments[0])
	}
}
