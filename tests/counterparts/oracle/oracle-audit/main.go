// Command oracle-audit answers what the API server's audit policy says about requests: an oracle for the differential test.
//
// In: one JSON object per line: the text of a policy file and questions about it. Out: one line per policy: `!` and the
// reason when the API server does not load it, else for each question the level's number (0 None to 3 RequestResponse),
// the omitted stages as a hexadecimal digit (1 RequestReceived, 2 ResponseStarted, 4 ResponseComplete, 8 Panic) and
// `m` where managed fields are omitted, `-` where not.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
)

type asked struct {
	Policy    string     `json:"policy"`
	Questions []question `json:"questions"`
}

type question struct {
	// Absent where nobody was authenticated.
	User        *string  `json:"user"`
	Groups      []string `json:"groups"`
	Verb        string   `json:"verb"`
	Group       string   `json:"group"`
	Resource    string   `json:"resource"`
	Subresource string   `json:"subresource"`
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Path        string   `json:"path"`
	IsResource  bool     `json:"isResource"`
}

var levels = map[audit.Level]byte{
	audit.LevelNone: '0', audit.LevelMetadata: '1', audit.LevelRequest: '2', audit.LevelRequestResponse: '3',
}

var stages = map[audit.Stage]int{
	audit.StageRequestReceived: 1, audit.StageResponseStarted: 2, audit.StageResponseComplete: 4, audit.StagePanic: 8,
}

func main() {
	// The API server logs each policy that it takes in spite of a mistake.
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			panic(err)
		}
	}
	klog.SetOutput(io.Discard)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var a asked
		if err := json.Unmarshal(line, &a); err != nil {
			fmt.Fprintln(os.Stderr, "not a question:", err)
			os.Exit(2)
		}
		if _, err := out.Write(append(answer(&a), '\n')); err != nil {
			os.Exit(1)
		}
	}
}

func answer(a *asked) []byte {
	loaded, err := policy.LoadPolicyFromBytes([]byte(a.Policy))
	if err != nil {
		return []byte("!" + strings.ReplaceAll(err.Error(), "\n", " "))
	}
	evaluator := policy.NewPolicyRuleEvaluator(loaded)
	answers := make([]byte, 0, 3*len(a.Questions))
	for i := range a.Questions {
		q := &a.Questions[i]
		attributes := authorizer.AttributesRecord{
			Verb: q.Verb, APIGroup: q.Group, Resource: q.Resource, Subresource: q.Subresource,
			Namespace: q.Namespace, Name: q.Name, Path: q.Path, ResourceRequest: q.IsResource,
		}
		if q.User != nil {
			attributes.User = &user.DefaultInfo{Name: *q.User, Groups: q.Groups}
		}
		config := evaluator.EvaluatePolicyRule(attributes)
		omitted := 0
		for _, stage := range config.OmitStages {
			omitted |= stages[stage]
		}
		managed := byte('-')
		if config.OmitManagedFields {
			managed = 'm'
		}
		answers = append(answers, levels[config.Level], "0123456789abcdef"[omitted], managed)
	}
	return answers
}
