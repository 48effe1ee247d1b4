// Command oracle-requestinfo answers what the API server understands by a request: an oracle for the differential test.
//
// In: one JSON array per line, [method, target]. Out: one JSON object per line.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/filters"
	"k8s.io/klog/v2"
)

// Answer holds bytes, not strings, where a path or query may decode to something that is no UTF-8.
type Answer struct {
	Error       string `json:"error,omitempty"`
	Resource    bool   `json:"isResource,omitempty"`
	Path        []byte `json:"path,omitempty"`
	Verb        string `json:"verb,omitempty"`
	Prefix      string `json:"prefix,omitempty"`
	Group       string `json:"group,omitempty"`
	Version     string `json:"version,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
	Plural      string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Parts       []byte `json:"parts,omitempty"`
	Field       []byte `json:"fieldSelector,omitempty"`
	Label       []byte `json:"labelSelector,omitempty"`
	LongRunning bool   `json:"longRunning,omitempty"`
}

func main() {
	// The API server logs each undecodable option; a million of them help nobody.
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			panic(err)
		}
	}
	klog.SetOutput(io.Discard)
	factory := &request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
	// The lists of kube-apiserver, pkg/controlplane/apiserver/config.go.
	longRunning := filters.BasicLongRunningRequestCheck(
		sets.NewString("watch", "proxy"),
		sets.NewString("attach", "exec", "proxy", "log", "portforward"),
	)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked [2]string
		if err := json.Unmarshal(line, &asked); err != nil {
			fmt.Fprintln(os.Stderr, "not a question:", err)
			os.Exit(2)
		}
		if err := encoder.Encode(answer(factory, longRunning, asked[0], asked[1])); err != nil {
			os.Exit(1)
		}
	}
}

func answer(factory *request.RequestInfoFactory, longRunning request.LongRunningRequestCheck, method, target string) Answer {
	// As net/http's server reads a request line.
	parsed, err := url.ParseRequestURI(target)
	if err != nil {
		return Answer{Error: "target"}
	}
	asked := &http.Request{Method: method, URL: parsed}
	info, err := factory.NewRequestInfo(asked)
	if err != nil {
		return Answer{Error: "info"}
	}
	return Answer{
		Resource: info.IsResourceRequest, Path: []byte(info.Path), Verb: info.Verb, Prefix: info.APIPrefix,
		Group: info.APIGroup, Version: info.APIVersion, Namespace: info.Namespace, Name: info.Name,
		Plural: info.Resource, Subresource: info.Subresource, Parts: []byte(strings.Join(info.Parts, "/")),
		Field: []byte(info.FieldSelector), Label: []byte(info.LabelSelector),
		LongRunning: longRunning(asked, info),
	}
}
