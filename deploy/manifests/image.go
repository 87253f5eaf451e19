package manifests

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Image is what the Dockerfile makes.
type Image struct {
	Build      string // shell command that makes Program out of the repository
	Program    string // path in the image, the only file there
	User       int
	Entrypoint []string
	Health     Health
}

// Health is a health check of a container.
type Health struct {
	Test     []string
	Interval time.Duration
	Timeout  time.Duration
	Start    time.Duration // in which failures don't count
	Retries  int
}

// nonroot is the user of the images of distroless that are called so.
const nonroot = 65532

// ReadImage reads the Dockerfile. It knows no more than what stands in there, and says so when there is something else.
func ReadImage(dir string) (*Image, error) {
	text, err := os.ReadFile(in(dir, dockerfile))
	if err != nil {
		return nil, err
	}
	im := &Image{Health: Health{Interval: 30 * time.Second, Timeout: 30 * time.Second, Retries: 3}} // Docker's defaults
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := im.line(word, strings.TrimSpace(rest)); err != nil {
			return nil, fmt.Errorf("Dockerfile: %q: %w", strings.TrimSpace(line), err)
		}
	}
	switch {
	case im.Build == "" || im.Program == "":
		return nil, errors.New("Dockerfile: nothing is built, or copied into the image")
	case im.User == 0:
		return nil, errors.New("Dockerfile: the user of the image is root")
	}
	return im, nil
}

var healthOption = regexp.MustCompile(`^--([a-z-]+)=(\S+) +`)

func (im *Image) line(word, rest string) (err error) {
	switch word {
	case "RUN":
		im.Build = rest // of the last stage that runs something
	case "FROM":
		im.User = 0
		if strings.HasSuffix(rest, ":nonroot") {
			im.User = nonroot
		}
	case "USER":
		im.User, err = strconv.Atoi(rest)
	case "COPY":
		if from, to, ok := strings.Cut(strings.TrimPrefix(rest, "--from=build "), " "); ok && strings.HasPrefix(from, "/") {
			im.Program = to
		}
	case "ENTRYPOINT":
		err = json.Unmarshal([]byte(rest), &im.Entrypoint)
	case "HEALTHCHECK":
		err = im.healthcheck(rest)
	case "STOPSIGNAL":
		if rest != "SIGTERM" {
			err = errors.New("only SIGTERM is known")
		}
	case "", "#", "WORKDIR", "EXPOSE", "CMD":
	default:
		err = errors.New("nothing is known of this instruction: add it to package manifests")
	}
	return err
}

func (im *Image) healthcheck(rest string) error {
	for m := healthOption.FindStringSubmatch(rest); m != nil; m = healthOption.FindStringSubmatch(rest) {
		rest = rest[len(m[0]):]
		d, err := time.ParseDuration(m[2])
		if err != nil {
			return err
		}
		switch m[1] {
		case "interval":
			im.Health.Interval = d
		case "timeout":
			im.Health.Timeout = d
		case "start-period":
			im.Health.Start = d
		default:
			return fmt.Errorf("nothing is known of --%s", m[1])
		}
	}
	return json.Unmarshal([]byte(strings.TrimPrefix(rest, "CMD ")), &im.Health.Test)
}
