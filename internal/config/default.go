package config

import "github.com/alecthomas/kong"

// DefaultRouter is a router's settings when nobody has set any.
func DefaultRouter() Router {
	var r Router
	parseInto(&r)
	return r
}

// DefaultGateway is the settings of a gateway of which only the ID, a valid one, has been set.
func DefaultGateway(id ID) Gateway {
	var g Gateway
	parseInto(&g, "--id", string(id))
	return g
}

func parseInto(settings any, args ...string) {
	k, err := kong.New(settings, Options(nil)...)
	if err == nil {
		_, err = k.Parse(args)
	}
	if err != nil {
		panic("BUG: config: the defaults are not accepted: " + err.Error())
	}
}
