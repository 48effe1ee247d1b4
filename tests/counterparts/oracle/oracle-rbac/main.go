// Command oracle-rbac decides requests with Kubernetes' own RBAC authorizer: an oracle for the differential test.
//
// In: one JSON object per line: a world of RBAC objects and questions about it. Out: one line per world, a `1` for
// each question that is allowed and a `0` for each that is not.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
)

type world struct {
	Roles               []*rbacv1.Role               `json:"roles"`
	ClusterRoles        []*rbacv1.ClusterRole        `json:"clusterRoles"`
	RoleBindings        []*rbacv1.RoleBinding        `json:"roleBindings"`
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding `json:"clusterRoleBindings"`
	Questions           []question                   `json:"questions"`
}

type question struct {
	User        string   `json:"user"`
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

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked world
		if err := json.Unmarshal(line, &asked); err != nil {
			fmt.Fprintln(os.Stderr, "not a world:", err)
			os.Exit(2)
		}
		for _, allowed := range answer(&asked) {
			if err := out.WriteByte(allowed); err != nil {
				os.Exit(1)
			}
		}
		if err := out.WriteByte('\n'); err != nil {
			os.Exit(1)
		}
	}
}

func answer(asked *world) []byte {
	_, objects := validation.NewTestRuleResolver(
		asked.Roles, asked.RoleBindings, asked.ClusterRoles, asked.ClusterRoleBindings)
	authorize := rbac.New(objects, objects, objects, objects)
	answers := make([]byte, 0, len(asked.Questions))
	for i := range asked.Questions {
		q := &asked.Questions[i]
		decision, _, _ := authorize.Authorize(context.Background(), authorizer.AttributesRecord{
			User: &user.DefaultInfo{Name: q.User, Groups: q.Groups},
			Verb: q.Verb, APIGroup: q.Group, Resource: q.Resource, Subresource: q.Subresource,
			Namespace: q.Namespace, Name: q.Name, Path: q.Path, ResourceRequest: q.IsResource,
		})
		if decision == authorizer.DecisionAllow {
			answers = append(answers, '1')
		} else {
			answers = append(answers, '0')
		}
	}
	return answers
}
