//go:build tools

// Package counterparts pins the real kwok that the tests make thousands of objects with. It stands in a module of its
// own because it pins other versions of the Kubernetes libraries than the cluster does.
package counterparts

import (
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
