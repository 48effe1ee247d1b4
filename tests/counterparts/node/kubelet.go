package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// kubelet serves the paths that the API server dials on a node.
type kubelet struct {
	runtime *runtime
	streams streaming.Server
}

func kubeletHandler(r *runtime) (http.Handler, error) {
	streams, err := streaming.NewServer(streaming.Config{
		BaseURL:                         &url.URL{Path: "/"},
		StreamIdleTimeout:               4 * time.Hour,
		StreamCreationTimeout:           remotecommand.DefaultStreamCreationTimeout,
		SupportedRemoteCommandProtocols: remotecommand.SupportedStreamingProtocols,
		SupportedPortForwardProtocols:   portforward.SupportedProtocols,
	}, r)
	if err != nil {
		return nil, err
	}
	k := &kubelet{runtime: r, streams: streams}
	mux := http.NewServeMux()
	for _, pod := range []string{"/{namespace}/{pod}", "/{namespace}/{pod}/{uid}"} {
		mux.HandleFunc("/exec"+pod+"/{container}", k.exec)
		mux.HandleFunc("/attach"+pod+"/{container}", k.attach)
		mux.HandleFunc("/portForward"+pod, k.portForward)
	}
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	mux.HandleFunc("GET /pods", k.pods)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	return mux, nil
}

func (k *kubelet) exec(w http.ResponseWriter, r *http.Request) {
	c, options, ok := k.stream(w, r)
	if !ok {
		return
	}
	answer, err := k.streams.GetExec(&runtimeapi.ExecRequest{
		ContainerId: c.id, Cmd: r.URL.Query()["command"],
		Tty: options.TTY, Stdin: options.Stdin, Stdout: options.Stdout, Stderr: options.Stderr,
	})
	k.serve(w, r, answer.GetUrl(), err)
}

func (k *kubelet) attach(w http.ResponseWriter, r *http.Request) {
	c, options, ok := k.stream(w, r)
	if !ok {
		return
	}
	answer, err := k.streams.GetAttach(&runtimeapi.AttachRequest{
		ContainerId: c.id,
		Tty:         options.TTY, Stdin: options.Stdin, Stdout: options.Stdout, Stderr: options.Stderr,
	})
	k.serve(w, r, answer.GetUrl(), err)
}

func (k *kubelet) portForward(w http.ResponseWriter, r *http.Request) {
	worker, ok := k.worker(w, r)
	if !ok {
		return
	}
	request := &runtimeapi.PortForwardRequest{PodSandboxId: string(worker.pod.UID)}
	for _, text := range r.URL.Query()["port"] {
		port, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			http.Error(w, "port: "+err.Error(), http.StatusBadRequest)
			return
		}
		request.Port = append(request.Port, int32(port))
	}
	answer, err := k.streams.GetPortForward(request)
	k.serve(w, r, answer.GetUrl(), err)
}

// stream reads what exec and attach have in common.
func (k *kubelet) stream(w http.ResponseWriter, r *http.Request) (*container, *remotecommand.Options, bool) {
	worker, ok := k.worker(w, r)
	if !ok {
		return nil, nil, false
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, nil, false
	}
	c, ok := worker.latest(r.PathValue("container"), false)
	if !ok {
		http.Error(w, fmt.Sprintf("container not found (%q)", r.PathValue("container")), http.StatusNotFound)
		return nil, nil, false
	}
	return c, options, true
}

func (k *kubelet) worker(w http.ResponseWriter, r *http.Request) (*podWorker, bool) {
	worker, ok := k.runtime.pod(r.PathValue("namespace"), r.PathValue("pod"))
	if uid := r.PathValue("uid"); ok && uid != "" && uid != string(worker.pod.UID) {
		ok = false
	}
	if !ok {
		http.Error(w, "pod does not exist", http.StatusNotFound)
	}
	return worker, ok
}

// serve hands the request to the streaming library under the one-time address that it gave out.
func (k *kubelet) serve(w http.ResponseWriter, r *http.Request, address string, err error) {
	if err != nil {
		streaming.WriteError(err, w)
		return
	}
	target, err := url.Parse(address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	inner := r.Clone(r.Context())
	inner.URL, inner.RequestURI = target, target.RequestURI()
	k.streams.ServeHTTP(w, inner)
}

func (k *kubelet) pods(w http.ResponseWriter, _ *http.Request) {
	list := core.PodList{TypeMeta: meta.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	for _, worker := range k.runtime.list() {
		pod := worker.pod.DeepCopy()
		pod.Status = worker.status()
		list.Items = append(list.Items, *pod)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

func (k *kubelet) logs(w http.ResponseWriter, r *http.Request) {
	worker, ok := k.worker(w, r)
	if !ok {
		return
	}
	wanted, err := logOptions(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c, ok := worker.latest(r.PathValue("container"), wanted.previous)
	if !ok {
		http.Error(w, fmt.Sprintf("container %q has no such log", r.PathValue("container")), http.StatusNotFound)
		return
	}
	flushing := flushWriter{w}
	var stdout, stderr io.Writer = flushing, flushing
	switch wanted.stream {
	case core.LogStreamStdout:
		stderr = io.Discard
	case core.LogStreamStderr:
		stdout = io.Discard
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	flushing.flush()
	err = logs.ReadLogs(r.Context(), c.logPath, c.id, &wanted.LogOptions, logRuntime{runtime: k.runtime}, stdout, stderr)
	if err != nil && r.Context().Err() == nil {
		fmt.Fprintln(w, err)
	}
}

// wantedLog is the query of a log request, in the log reader's terms.
type wantedLog struct {
	logs.LogOptions
	previous bool
	stream   string
}

func logOptions(query url.Values) (wantedLog, error) {
	wanted := wantedLog{previous: query.Get("previous") == "true", stream: query.Get("stream")}
	wanted.Follow = query.Get("follow") == "true"
	wanted.Timestamp = query.Get("timestamps") == "true"
	var sinceSeconds *int64
	for name, target := range map[string]**int64{
		"tailLines": &wanted.TailLines, "limitBytes": &wanted.LimitBytes, "sinceSeconds": &sinceSeconds,
	} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return wanted, fmt.Errorf("%s: %w", name, err)
		}
		*target = &number
	}
	if sinceSeconds != nil {
		wanted.Since = time.Now().Add(-time.Duration(*sinceSeconds) * time.Second)
	}
	if text := query.Get("sinceTime"); text != "" {
		since, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return wanted, fmt.Errorf("sinceTime: %w", err)
		}
		wanted.Since = since
	}
	return wanted, nil
}

// flushWriter sends each line as it comes, as followers expect.
type flushWriter struct{ http.ResponseWriter }

func (f flushWriter) Write(data []byte) (int, error) {
	n, err := f.ResponseWriter.Write(data)
	f.flush()
	return n, err
}

func (f flushWriter) flush() {
	if flusher, ok := f.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}
