//go:build tools

// Package counterparts pins the real Helm. It is never built as a whole.
package counterparts

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
