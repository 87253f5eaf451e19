package config

// Dev is how `ringside dev` is set up: a whole cluster in one process. Everything that is not named here has
// the default of its role.
type Dev struct {
	File

	// Where to look.
	Listen Addr `default:"127.0.0.1:8080" help:"Address of the router, for clients."`
	Admin  Addr `default:"127.0.0.1:8081" help:"Address of the router's admin port and of the page."`
	// They gossip with each other on loopback ports that are free.
	Gateways int `default:"3" min:"1" max:"16" help:"How many gateways to run."`
	// Without one, messages live in this process and end with it.
	Redis RedisURL `placeholder:"URL" example:"redis://127.0.0.1:6379" help:"Redis server; by default one inside this process."`

	// What the page shows; without it the page has only what you publish.
	Match bool `default:"true" negatable:"" help:"Play a live final: a message every tenth of a second."`
	// Real WebSocket sessions through the router, in this process.
	Viewers int `default:"40" min:"0" max:"2000" help:"How many viewers follow it beside you."`

	// The page can be used by whoever reaches it.
	AdminOpen bool `help:"Let everybody use an admin port, and the page, that other machines can reach."`

	TopicRules

	Logging
}

// Validate checks what concerns more than one setting.
func (d *Dev) Validate() error {
	if err := (&AdminTrust{AdminOpen: d.AdminOpen}).validate(d.Admin); err != nil {
		return err
	}
	return distinct([]string{"listen", "admin"}, []Addr{d.Listen, d.Admin})
}
