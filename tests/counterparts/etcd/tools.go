//go:build tools

// Package counterparts pins the real etcd that the tests run kube-apiserver on. It is never built as a whole.
package counterparts

import (
	_ "go.etcd.io/etcd/server/v3"
)
