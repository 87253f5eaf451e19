package load

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Template is what a server speaks, as far as a subscriber and a publisher have to know. Texts may hold variables, see [Variables].
type Template struct {
	Name  string `yaml:"-"     json:"name,omitempty"`
	About string `yaml:"about" json:"about,omitempty"`

	Transport   string            `yaml:"transport"   json:"transport,omitempty"` // websocket, which is the default, or events
	Path        string            `yaml:"path"        json:"path,omitempty"`      // with the query
	Subprotocol string            `yaml:"subprotocol" json:"subprotocol,omitempty"`
	Headers     map[string]string `yaml:"headers"     json:"headers,omitempty"` // of the handshake
	Resume      string            `yaml:"resume"      json:"resume,omitempty"`  // added to the query of a subscriber that comes back
	Pass        string            `yaml:"pass"        json:"pass,omitempty"`    // added to it by one that was given a pass

	Frames     []Answer  `yaml:"frames"     json:"frames,omitempty"`
	Lines      bool      `yaml:"lines"      json:"lines,omitempty"`      // a frame holds messages of a line each
	Subscribed Match     `yaml:"subscribed" json:"subscribed,omitempty"` // confirms a subscription; without it the handshake does
	Refused    Match     `yaml:"refused"    json:"refused,omitempty"`    // a message that says no
	Position   []Between `yaml:"position"  json:"position,omitempty"`    // of a message: the first of these that it has

	Publish Publish `yaml:"publish" json:"publish,omitempty"`
}

// Answer is a frame that is sent when a message comes; without a condition, as soon as the connection stands.
type Answer struct {
	On   Match  `yaml:"on"   json:"on,omitempty"`
	Send string `yaml:"send" json:"send"`
}

// Match is a condition on a message: all that is set must hold. The zero Match is none, and never holds.
type Match struct {
	Is       string `yaml:"is"       json:"is,omitempty"`
	Begins   string `yaml:"begins"   json:"begins,omitempty"`
	Contains string `yaml:"contains" json:"contains,omitempty"`
}

func (m Match) empty() bool { return m == Match{} }

func (m Match) holds(p []byte) bool {
	return !m.empty() && (m.Is == "" || string(p) == m.Is) &&
		(m.Begins == "" || len(p) >= len(m.Begins) && string(p[:len(m.Begins)]) == m.Begins) &&
		(m.Contains == "" || bytes.Contains(p, []byte(m.Contains)))
}

// Between is what stands between two texts of a message.
type Between struct {
	After  string `yaml:"after"  json:"after,omitempty"`
	Before string `yaml:"before" json:"before,omitempty"`
}

// find is the first such thing in p; nil for none.
func (b Between) find(p []byte) []byte {
	i := bytes.Index(p, []byte(b.After))
	if i < 0 || b.After == "" {
		return nil
	}
	p = p[i+len(b.After):]
	if b.Before == "" {
		return p
	}
	if i = bytes.Index(p, []byte(b.Before)); i < 0 {
		return nil
	}
	return p[:i]
}

// Publish is how a message is published; which of the two, the publisher's URL says.
type Publish struct {
	HTTP  *HTTPPublish `yaml:"http"  json:"http,omitempty"`
	Redis []string     `yaml:"redis" json:"redis,omitempty"` // a command, a word each
}

// HTTPPublish is a request that publishes: Body for one message, Batch for several, or for each where there is no Body.
type HTTPPublish struct {
	Method  string            `yaml:"method"  json:"method,omitempty"` // POST by default
	Path    string            `yaml:"path"    json:"path,omitempty"`
	Headers map[string]string `yaml:"headers" json:"headers,omitempty"`
	Body    string            `yaml:"body"    json:"body,omitempty"`
	Batch   Batches           `yaml:"batch"   json:"batch,omitzero"`
	Refused Match             `yaml:"refused" json:"refused,omitempty"` // an answer of 2xx that says no
}

// Batches are the body of a request with several messages: an item of each.
type Batches struct {
	Begin   string `yaml:"begin"   json:"begin,omitempty"`
	Item    string `yaml:"item"    json:"item,omitempty"`
	Between string `yaml:"between" json:"between,omitempty"`
	End     string `yaml:"end"     json:"end,omitempty"`
}

// The transports.
const (
	WebSocket = "websocket"
	Events    = "events"
)

//go:embed templates/*.yaml
var templates embed.FS

// Templates are the names of the templates that come with the program.
func Templates() (names []string) {
	list, err := fs.ReadDir(templates, "templates")
	if err != nil {
		panic("BUG: load: no templates: " + err.Error())
	}
	for _, e := range list {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// FindTemplate is the template of that name, or in that file.
func FindTemplate(name string) (Template, error) {
	if slices.Contains(Templates(), name) {
		text, err := templates.ReadFile(path.Join("templates", name+".yaml"))
		if err != nil {
			return Template{}, err
		}
		return ParseTemplate(name, text)
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(name, "./") {
		err = fmt.Errorf("there is no template %q: want one of %s, or a file", name, strings.Join(Templates(), ", "))
	}
	if err != nil {
		return Template{}, err
	}
	return ParseTemplate(name, text)
}

// ParseTemplate reads a template strictly: what it does not know is an error.
func ParseTemplate(name string, text []byte) (t Template, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err = dec.Decode(&t); err == nil {
		t.Name = name
		err = t.Validate()
	}
	if err != nil {
		return t, fmt.Errorf("template %s: %w", name, err)
	}
	return t, nil
}

// Validate says what is wrong with the template.
func (t *Template) Validate() error {
	if t.Transport == "" {
		t.Transport = WebSocket
	}
	switch {
	case t.Transport != WebSocket && t.Transport != Events:
		return fmt.Errorf("transport is %q: want %s or %s", t.Transport, WebSocket, Events)
	case t.Transport == Events && len(t.Frames) > 0:
		return errors.New("an event stream takes no frames")
	case !strings.HasPrefix(t.Path, "/"):
		return fmt.Errorf("path is %q: want one that begins with /", t.Path)
	case t.Publish.HTTP != nil && !strings.HasPrefix(t.Publish.HTTP.Path, "/"):
		return fmt.Errorf("path of publish is %q: want one that begins with /", t.Publish.HTTP.Path)
	}
	for i, f := range t.Frames {
		if f.Send == "" {
			return fmt.Errorf("frame %d sends nothing", i+1)
		}
	}
	for _, text := range t.texts() {
		if _, err := compile(text); err != nil {
			return err
		}
	}
	return t.checkHead()
}

// texts are all texts with variables.
func (t *Template) texts() []string {
	list := []string{t.Path, t.Subprotocol, t.Resume, t.Pass}
	for _, v := range t.Headers {
		list = append(list, v)
	}
	for _, f := range t.Frames {
		list = append(list, f.Send)
	}
	list = append(list, t.Publish.Redis...)
	if p := t.Publish.HTTP; p != nil {
		list = append(list, p.Path, p.Body, p.Batch.Begin, p.Batch.Item, p.Batch.End)
		for _, v := range p.Headers {
			list = append(list, v)
		}
	}
	return list
}

// checkHead holds what goes into the head of a request to one line.
func (t *Template) checkHead() error {
	list := []string{t.Path, t.Subprotocol, t.Resume, t.Pass}
	headers := []map[string]string{t.Headers}
	if p := t.Publish.HTTP; p != nil {
		list, headers = append(list, p.Method, p.Path), append(headers, p.Headers)
	}
	for _, h := range headers {
		for k, v := range h {
			if k == "" || strings.ContainsAny(k, ": \t{}") {
				return fmt.Errorf("%q is no name of a header", k)
			}
			list = append(list, k, v)
		}
	}
	for _, s := range list {
		if strings.ContainsAny(s, "\r\n") {
			return fmt.Errorf("%q has a line break", s)
		}
	}
	return nil
}
