package config

import (
	"errors"
	"slices"
	"strings"
)

// Origins are the sites whose pages may open sessions. Routers and gateways check it: set both alike.
type Origins struct {
	// Without cookies a page of any site can do no more than any program. Where cookies authenticate, a gateway wants a list.
	AllowedOrigins []string `group:"Authentication" placeholder:"ORIGIN" example:"[https://shop.example, 'https://*.shop.example']" help:"Sites whose pages may open sessions, as browsers tell it: also https://*.shop.example, null, or * for all, which is the default."`
}

// validateOrigins wants a list where cookies authenticate: a browser sends them from every site's pages.
func (a *Auth) validateOrigins(o Origins) error {
	asks := len(a.RPC.Host) > 0 || a.WebhookURL != ""
	cookies := a.JWT.Cookie != "" || asks && slices.ContainsFunc(a.App.Headers, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), "cookie") })
	if cookies && len(o.AllowedOrigins) == 0 {
		return errors.New("allowed-origins: cookies authenticate clients (jwt-cookie, or cookie in app-headers), and browsers send them from the pages of " +
			"every site: list your own, for example https://shop.example; * says that all are meant")
	}
	return nil
}
