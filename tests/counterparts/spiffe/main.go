// Command spiffe is SPIFFE by its own public library, go-spiffe: an agent that serves the Workload API on a unix socket and says what
// it is told, and a workload that gets its X.509-SVID from such an agent and calls with it.
//
//	spiffe agent SOCKET             told by lines of JSON on standard input, each answered by a line; ends with standard input
//	spiffe call SOCKET CA-FILE URL  one GET with the SVID; writes the status and the body
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 2 && arguments[0] == "agent":
		return agent(arguments[1])
	case len(arguments) == 4 && arguments[0] == "call":
		return call(arguments[1], arguments[2], arguments[3])
	default:
		return errors.New("usage: spiffe agent SOCKET | call SOCKET CA-FILE URL")
	}
}

// told is what the agent knows, all of it; bytes are base64.
type told struct {
	// By the ID of the trust domain: certificates in DER, one behind the other.
	Bundles map[string][]byte `json:"bundles"`
	// Whose SVID the caller of FetchX509SVID gets.
	ID    string `json:"id"`
	Chain []byte `json:"chain"`
	Key   []byte `json:"key"`
	// No identity for anybody.
	Denied bool `json:"denied"`
}

type server struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	mutex   sync.Mutex
	now     told
	changed chan struct{}
}

func agent(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	ours := &server{changed: make(chan struct{}), now: told{Denied: true}}
	served := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(served, ours)
	go func() { _ = served.Serve(listener) }()
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var next told
		if err := json.Unmarshal(lines.Bytes(), &next); err != nil {
			return err
		}
		ours.say(next)
		fmt.Println("said")
	}
	served.Stop()
	return lines.Err()
}

func (ours *server) say(next told) {
	ours.mutex.Lock()
	defer ours.mutex.Unlock()
	ours.now = next
	close(ours.changed)
	ours.changed = make(chan struct{})
}

// follow sends what is known now, and again at each change.
func (ours *server) follow(ctx context.Context, send func(told) error) error {
	values, _ := metadata.FromIncomingContext(ctx)
	if said := values.Get("workload.spiffe.io"); len(said) != 1 || said[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	for {
		ours.mutex.Lock()
		now, changed := ours.now, ours.changed
		ours.mutex.Unlock()
		if now.Denied {
			return status.Error(codes.PermissionDenied, "no identity issued")
		}
		if err := send(now); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (ours *server) FetchX509Bundles(_ *workload.X509BundlesRequest, stream workload.SpiffeWorkloadAPI_FetchX509BundlesServer) error {
	return ours.follow(stream.Context(), func(now told) error {
		return stream.Send(&workload.X509BundlesResponse{Bundles: now.Bundles})
	})
}

func (ours *server) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	return ours.follow(stream.Context(), func(now told) error {
		var bundle []byte
		for _, one := range now.Bundles {
			bundle = append(bundle, one...)
		}
		svid := &workload.X509SVID{SpiffeId: now.ID, X509Svid: now.Chain, X509SvidKey: now.Key, Bundle: bundle}
		return stream.Send(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{svid}})
	})
}

func call(socket, authorities, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	source, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+socket)))
	if err != nil {
		return err
	}
	defer source.Close()
	pem, err := os.ReadFile(authorities)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("no authority in " + authorities)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	tlsconfig.HookMTLSWebClientConfig(config, source, roots)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Println(response.StatusCode, response.Header.Get("Audit-Id"))
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
