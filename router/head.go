package router

import "github.com/ringside-edge/ringside/internal/httphead"

// isOurs reports whether a field belongs to us: its name begins with "Ringside-", in whatever case, or with what some
// servers take for that.
func isOurs(f httphead.Field) bool {
	const prefix = "ringside"
	return len(f.Name) > len(prefix) && httphead.FoldEqual(f.Name[:len(prefix)], prefix) &&
		(f.Name[len(prefix)] == '-' || f.Name[len(prefix)] == '_')
}

// isHopByHop reports whether a field concerns one connection only and is never passed on as it is.
func isHopByHop(f httphead.Field) bool {
	switch len(f.Name) {
	case len("te"):
		return f.Is("te")
	case len("trailer"): // and "upgrade"
		return f.Is("trailer") || f.Is("upgrade")
	case len("connection"): // and "keep-alive"
		return f.Is("connection") || f.Is("keep-alive")
	case len("http2-settings"):
		return f.Is("http2-settings")
	case len("proxy-connection"):
		return f.Is("proxy-connection")
	case len("transfer-encoding"):
		return f.Is("transfer-encoding")
	case len("proxy-authenticate"):
		return f.Is("proxy-authenticate")
	case len("proxy-authorization"):
		return f.Is("proxy-authorization")
	}
	return false
}
