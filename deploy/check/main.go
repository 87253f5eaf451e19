// Command check reads the files of deployment as the tools that use them would, without any of them: what is misspelt, of a wrong type or
// does not fit together is an error.
//
//	cd deploy && go run ./check .
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"

	"github.com/ringside-edge/ringside/deploy/manifests"
)

func main() {
	dir := "."
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	n, err := compose(dir)
	if err == nil {
		fmt.Printf("compose: %d services\n", n)
	}
	m, kerr := kubernetes(dir)
	if kerr == nil {
		fmt.Printf("kubernetes: %d objects\n", m)
	}
	_, ierr := manifests.ReadImage(dir)
	if err := errors.Join(err, kerr, ierr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compose loads the project, and looks whether the files that it mounts are there.
func compose(dir string) (services int, err error) {
	p, err := manifests.Compose(dir, "for the check alone, 16 bytes or more")
	if err != nil {
		return 0, err
	}
	for _, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type != "bind" {
				continue
			}
			if _, serr := os.Stat(v.Source); serr != nil {
				err = errors.Join(err, fmt.Errorf("compose: %s mounts what is not there: %w", s.Name, serr))
			}
		}
	}
	return len(p.Services), err
}

func kubernetes(dir string) (objects int, err error) {
	c, err := manifests.Kubernetes(dir)
	if err != nil {
		return 0, err
	}
	return c.Objects, (&cluster{c}).check()
}

// cluster is what the objects say of each other.
type cluster struct{ *manifests.Cluster }

// check holds the objects against each other: selectors find pods, ports have names, settings are mounted, and a stop has its time.
func (c *cluster) check() (err error) {
	bad := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(format, args...)) }
	for name, s := range c.Services {
		pods := c.selected(s.Selector)
		if len(pods) == 0 {
			bad("Service %s selects no pods", name)
		}
		for _, p := range s.Ports {
			if target := p.TargetPort.StrVal; target != "" {
				for _, w := range pods {
					if manifests.Port(w.Template.Spec, target) == 0 {
						bad("Service %s: %s has no port %s", name, w.Name, target)
					}
				}
			}
		}
	}
	for _, w := range c.Workloads {
		labels := w.Template.Labels
		if !manifests.Within(w.Selector, labels) {
			bad("%s does not select its own pods", w.Name)
		}
		if !slices.ContainsFunc(c.Budgets, func(b policyv1.PodDisruptionBudget) bool {
			return manifests.Within(b.Spec.Selector.MatchLabels, labels)
		}) {
			bad("%s has no PodDisruptionBudget", w.Name)
		}
		if !slices.ContainsFunc(c.Policies, func(p networkingv1.NetworkPolicy) bool {
			return manifests.Within(p.Spec.PodSelector.MatchLabels, labels)
		}) {
			bad("%s has no NetworkPolicy", w.Name)
		}
		err = errors.Join(err, c.pod(w))
	}
	return err
}

// pod checks one workload's pods.
func (c *cluster) pod(w manifests.Workload) (err error) {
	bad := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(w.Name+": "+format, args...)) }
	spec := w.Template.Spec
	if g := spec.TerminationGracePeriodSeconds; g == nil || *g < 60 {
		bad("a drain takes longer than terminationGracePeriodSeconds")
	}
	for _, v := range spec.Volumes {
		if m := v.ConfigMap; m != nil {
			data, ok := c.Configs[m.Name]
			if !ok {
				bad("there is no ConfigMap %s", m.Name)
			}
			for file, text := range data {
				if strings.Contains(text, "\t") || !strings.HasSuffix(file, ".yaml") {
					bad("%s is no file of settings", file)
				}
			}
		}
	}
	for _, ct := range spec.Containers {
		if ct.ReadinessProbe == nil || ct.LivenessProbe == nil || ct.Lifecycle == nil || ct.Lifecycle.PreStop == nil {
			bad("%s lacks a probe or preStop", ct.Name)
		}
		if ct.LivenessProbe != nil && ct.LivenessProbe.HTTPGet != nil && ct.LivenessProbe.HTTPGet.Path == "/readyz" {
			bad("%s would be restarted while it waits for Redis", ct.Name)
		}
	}
	return err
}

func (c *cluster) selected(selector map[string]string) (ws []manifests.Workload) {
	for _, w := range c.Workloads {
		if len(selector) > 0 && manifests.Within(selector, w.Template.Labels) {
			ws = append(ws, w)
		}
	}
	return ws
}
