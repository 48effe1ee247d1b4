//go:build tools

// Package counterparts pins the last kubectl that knows no WebSocket streams: SPDY alone. It is never built as a whole.
package counterparts

import (
	_ "k8s.io/kubernetes/cmd/kubectl"
)
