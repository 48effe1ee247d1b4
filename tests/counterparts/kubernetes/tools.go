//go:build tools

// Package counterparts pins the real Kubernetes programs that the tests run against. It is never built as a whole.
package counterparts

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
)
