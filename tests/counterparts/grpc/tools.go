//go:build tools

// Package counterparts pins the real grpcurl. It is never built as a whole.
package counterparts

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
)
