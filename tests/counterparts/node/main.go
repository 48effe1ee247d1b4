// Command node is the bench's stand-in for a kubelet and its container runtime. It registers one Node, starts each
// container of the pods bound to that node as a local process in a folder of its own, and serves exec, attach,
// port-forward and logs through the container runtimes' own streaming library (k8s.io/cri-streaming) and the kubelet's
// own log reader (k8s.io/cri-client), so that protocols, exit codes and terminal sizes are the real ones.
//
// It isolates nothing: a pod shares the machine's files and network, as with hostNetwork. It pulls no image; a container
// without a command waits until it is told to stop. Volumes are not mounted. Never use it outside a test machine.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

type options struct {
	kubeconfig, name, address, folder string
	certificate, key, clientCA        string
	port                              int
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "pause":
			pause()
			return
		case "http":
			serveSample(os.Args[2:])
			return
		case "sink":
			serveSink(os.Args[2:])
			return
		}
	}
	if err := run(parseOptions()); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
}

func parseOptions() options {
	var o options
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server as system:node:NAME")
	flag.StringVar(&o.name, "name", "node-1", "the Node object's name")
	flag.StringVar(&o.address, "address", "127.0.0.1", "address of the node and of its pods; nodes/proxy and pods/proxy want one that is not loopback")
	flag.StringVar(&o.folder, "folder", "", "pods live in folders below this one")
	flag.StringVar(&o.certificate, "tls-cert-file", "", "serving certificate")
	flag.StringVar(&o.key, "tls-private-key-file", "", "key of the serving certificate")
	flag.StringVar(&o.clientCA, "client-ca-file", "", "only the API server has a client certificate of this CA")
	flag.IntVar(&o.port, "port", 0, "port of the kubelet endpoints, 0 for a free one")
	flag.Parse()
	return o
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.address, fmt.Sprint(o.port)))
	if err != nil {
		return err
	}
	node := newNode(o.name, o.address, listener.Addr().(*net.TCPAddr).Port, client)
	runtime := newRuntime(ctx, o.folder, o.address, o.name, client)
	defer runtime.stopAll()

	server, err := newKubelet(o, runtime)
	if err != nil {
		return err
	}
	serving := make(chan error, 1)
	go func() { serving <- server.ServeTLS(listener, o.certificate, o.key) }()
	if err := node.register(ctx); err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	go node.heartbeat(ctx)
	go runtime.watchPods(ctx)

	select {
	case <-ctx.Done():
		_ = server.Close()
		return nil
	case err := <-serving:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}
}

// newKubelet makes the TLS server whose only client is the API server.
func newKubelet(o options, runtime *runtime) (*http.Server, error) {
	pem, err := os.ReadFile(o.clientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", o.clientCA)
	}
	handler, err := kubeletHandler(runtime)
	if err != nil {
		return nil, err
	}
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			ClientAuth: tls.RequireAndVerifyClientCert,
			ClientCAs:  pool,
			NextProtos: []string{"http/1.1"}, // upgrades need HTTP/1.1
		},
	}, nil
}

// pause is what a container without a command runs.
func pause() {
	done := make(chan os.Signal, 1)
	signal.Notify(done, os.Interrupt, syscall.SIGTERM)
	<-done
}

// serveSample is a small web application for pods: it answers every request with what it received.
func serveSample(arguments []string) {
	flags := flag.NewFlagSet("http", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address to listen on")
	_ = flags.Parse(arguments)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	err = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "%s %s %s\n", r.Method, r.RequestURI, r.Proto)
		_ = r.Header.Write(w)
	}))
	fmt.Fprintln(os.Stderr, "http:", err)
	os.Exit(1)
}
