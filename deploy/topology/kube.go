//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ringside-edge/ringside/deploy/manifests"
)

// kube is what is there of Kubernetes: pods, the names and rules that follow from them, and what makes and replaces them.
type kube struct {
	w       *world
	m       *manifests.Cluster
	secrets string   // folder with the Secret's files
	redis   *service // as Compose has it, under the name that the base wants

	mu   sync.Mutex
	pods []*pod // guarded by mu
}

// newKube reads the base, and makes the Secret that it asks for.
func newKube(w *world) (*kube, error) {
	m, err := manifests.Kubernetes(w.deploy)
	if err != nil {
		return nil, err
	}
	k := &kube{w: w, m: m, secrets: filepath.Join(w.dir, "secret")}
	files := map[string]string{}
	for _, name := range []string{"cluster.secret", "admin.tokens"} { // as docs/DEPLOY.md says
		b := make([]byte, 32)
		_, _ = rand.Read(b) // it never fails
		files[name] = hex.EncodeToString(b) + "\n"
	}
	return k, projected(k.secrets, files)
}

// projected makes a folder of a ConfigMap or a Secret as kubelet does: files are links into a folder that is replaced as a whole.
func projected(dir string, files map[string]string) error {
	if err := os.MkdirAll(filepath.Join(dir, "..1"), 0o755); err != nil {
		return err
	}
	err := os.Symlink("..1", filepath.Join(dir, "..data"))
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "..1", name), []byte(text), 0o644), os.Symlink("..data/"+name, filepath.Join(dir, name)))
	}
	return err
}

// workload finds one by what its pods are.
func (k *kube) workload(component string) manifests.Workload {
	i := slices.IndexFunc(k.m.Workloads, func(w manifests.Workload) bool {
		return w.Template.Labels["app.kubernetes.io/component"] == component
	})
	return k.m.Workloads[i]
}

// of are the pods of a workload, in the order of their names.
func (k *kube) of(w manifests.Workload) []*pod {
	list := k.list(func(p *pod) bool { return p.namespace == home && manifests.Within(w.Selector, p.labels) })
	slices.SortFunc(list, func(a, b *pod) int { return strings.Compare(a.name, b.name) })
	return list
}

func (k *kube) list(want func(*pod) bool) (list []*pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		if want(p) {
			list = append(list, p)
		}
	}
	return list
}

// create makes a pod of a workload.
func (k *kube) create(w manifests.Workload, name string) (*pod, error) {
	host, err := k.w.newHost()
	if err != nil {
		return nil, err
	}
	p := &pod{w: k.w, name: name, namespace: home, labels: w.Template.Labels, spec: w.Template.Spec, host: host}
	s, err := k.spec(p)
	if err != nil {
		return nil, err
	}
	p.start = func() (*container, error) { return k.w.start(host, name, s) }
	return p, errors.Join(k.add(p), p.run())
}

// stranger makes a pod that runs nothing: somebody's in another namespace, to ask from.
func (k *kube) stranger(name, namespace string) (*pod, error) {
	host, err := k.w.newHost()
	if err != nil {
		return nil, err
	}
	p := &pod{w: k.w, name: name, namespace: namespace, host: host}
	return p, k.add(p)
}

// add makes a pod known, and has the network policies follow.
func (k *kube) add(p *pod) error {
	k.mu.Lock()
	k.pods = append(k.pods, p)
	k.mu.Unlock()
	return k.enforce()
}

// enforce brings all rules up to date.
func (k *kube) enforce() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		text, err := rules(k.m.Policies, p, k.pods)
		if err == nil {
			err = k.w.enforce(p, text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// remove stops a pod, and takes it away.
func (k *kube) remove(p *pod) error {
	problems := p.stop()
	k.mu.Lock()
	k.pods = slices.DeleteFunc(k.pods, func(q *pod) bool { return q == p })
	k.mu.Unlock()
	err := errors.Join(k.w.removeHost(p.host), k.enforce())
	for _, problem := range problems {
		err = errors.Join(err, fmt.Errorf("%s: %s", p.name, problem))
	}
	return err
}

// domain is what the names of the cluster end in.
const domain = home + ".svc.cluster.local"

// find is the cluster's DNS: Services, and pods of headless ones by name.
func (k *kube) find(name string) (addrs []string, known bool) {
	name, ours := strings.CutSuffix(name, "."+domain)
	if !ours {
		return nil, false
	}
	if name == "redis" && k.redis != nil {
		return []string{k.redis.host.IP}, true
	}
	one, service, byName := strings.Cut(name, ".")
	if !byName {
		service = one
	}
	s, ok := k.m.Services[service]
	if !ok || s.ClusterIP != corev1.ClusterIPNone {
		return nil, false
	}
	for _, p := range k.list(func(p *pod) bool { return p.namespace == home && manifests.Within(s.Selector, p.labels) }) {
		if (s.PublishNotReadyAddresses || p.isReady()) && (!byName || p.name == one) {
			addrs = append(addrs, p.host.IP)
		}
	}
	return addrs, len(addrs) > 0
}

// endpoints are the addresses behind a Service.
func (k *kube) endpoints(service string) (addrs []string) {
	s := k.m.Services[service]
	for _, p := range k.list(func(p *pod) bool { return manifests.Within(s.Selector, p.labels) && p.isReady() }) {
		for _, port := range s.Ports {
			n := port.TargetPort.IntValue()
			if port.TargetPort.StrVal != "" {
				n = manifests.Port(p.spec, port.TargetPort.StrVal)
			}
			addrs = append(addrs, net.JoinHostPort(p.host.IP, strconv.Itoa(n)))
		}
	}
	return addrs
}

var reference = regexp.MustCompile(`\$\(([A-Z_a-z0-9]+)\)`)

// spec is the pod's container, as the manifest describes it.
func (k *kube) spec(p *pod) (spec, error) {
	ct := p.spec.Containers[0]
	s := k.w.imageSpec(ct.Image, p.name)
	s.Files["etc/resolv.conf"] = "search " + domain + " svc.cluster.local cluster.local\nnameserver " + nameserver + "\noptions ndots:5\n"
	s.Descriptors = 1 << 20 // what container runtimes give
	vars := k.env(p, ct)
	for _, a := range ct.Args {
		s.Args = append(s.Args, reference.ReplaceAllStringFunc(a, func(r string) string { return vars[r[2:len(r)-1]] }))
	}
	for name, value := range vars {
		s.Env = append(s.Env, name+"="+value)
	}
	if c := p.spec.SecurityContext; c != nil {
		if c.RunAsUser != nil {
			s.User, s.Group = int(*c.RunAsUser), int(*c.RunAsUser) // the image has a group of each user's own
		}
		if c.FSGroup != nil {
			s.Groups = append(s.Groups, int(*c.FSGroup))
		}
		s.Sysctls = map[string]string{}
		for _, sysctl := range c.Sysctls {
			s.Sysctls[sysctl.Name] = sysctl.Value
		}
	}
	if c := ct.SecurityContext; c != nil {
		s.ReadOnly = c.ReadOnlyRootFilesystem != nil && *c.ReadOnlyRootFilesystem
		s.NoNewPrivileges = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
		s.DropAll = c.Capabilities != nil && slices.Contains(c.Capabilities.Drop, "ALL")
	}
	return s, k.volumes(p, ct, &s)
}

// volumes shows ConfigMaps and Secrets.
func (k *kube) volumes(p *pod, ct corev1.Container, s *spec) error {
	for _, m := range ct.VolumeMounts {
		i := slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			return fmt.Errorf("%s mounts %s, which is no volume", p.name, m.Name)
		}
		from := k.secrets
		switch v := p.spec.Volumes[i]; {
		case v.ConfigMap != nil:
			from = filepath.Join(k.w.dir, "configmap-"+v.ConfigMap.Name)
			if _, err := os.Stat(from); err != nil {
				if err := projected(from, k.m.Configs[v.ConfigMap.Name]); err != nil {
					return err
				}
			}
		case v.Secret == nil:
			return fmt.Errorf("%s: nothing is known of volumes such as %s", p.name, v.Name)
		}
		s.Mounts = append(s.Mounts, mount{From: from, To: m.MountPath, ReadOnly: m.ReadOnly})
	}
	return nil
}

// env are a container's variables: those of the manifest, and those that Kubernetes adds for every Service with an address.
func (k *kube) env(p *pod, ct corev1.Container) map[string]string {
	vars := map[string]string{}
	if links := p.spec.EnableServiceLinks; links == nil || *links {
		for name, s := range k.m.Services {
			if s.ClusterIP == corev1.ClusterIPNone {
				continue
			}
			at, prefix := "10.77.255.1", strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			vars[prefix+"_SERVICE_HOST"] = at
			for i, port := range s.Ports {
				url := fmt.Sprintf("tcp://%s:%d", at, port.Port)
				if i == 0 {
					vars[prefix+"_SERVICE_PORT"], vars[prefix+"_PORT"] = fmt.Sprint(port.Port), url
				}
				vars[prefix+"_SERVICE_PORT_"+strings.ToUpper(strings.ReplaceAll(port.Name, "-", "_"))] = fmt.Sprint(port.Port)
				tcp := fmt.Sprintf("%s_PORT_%d_TCP", prefix, port.Port)
				vars[tcp], vars[tcp+"_PROTO"], vars[tcp+"_PORT"], vars[tcp+"_ADDR"] = url, "tcp", fmt.Sprint(port.Port), at
			}
		}
	}
	for _, e := range ct.Env {
		vars[e.Name] = e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			vars[e.Name] = map[string]string{"metadata.name": p.name, "status.podIP": p.host.IP}[e.ValueFrom.FieldRef.FieldPath]
		}
	}
	return vars
}

// scale brings a workload to so many pods: those of a StatefulSet by number, the last ones go first.
func (k *kube) scale(ctx context.Context, w manifests.Workload, n int) error {
	for len(k.of(w)) > n {
		list := k.of(w)
		if err := k.remove(list[len(list)-1]); err != nil {
			return err
		}
	}
	for i := len(k.of(w)); i < n; i++ {
		if _, err := k.create(w, k.name(w, i)); err != nil {
			return err
		}
	}
	return k.w.await(ctx, fmt.Sprintf("%d pods of %s are ready", n, w.Name), func() error { return k.notReady(w) })
}

func (k *kube) name(w manifests.Workload, i int) string {
	if w.StatefulSet != nil {
		return fmt.Sprintf("%s-%d", w.Name, i)
	}
	b := make([]byte, 3)
	_, _ = rand.Read(b) // it never fails
	return w.Name + "-" + hex.EncodeToString(b)
}

// notReady names a pod of a workload that is not ready.
func (k *kube) notReady(w manifests.Workload) error {
	for _, p := range k.of(w) {
		if !p.isReady() {
			return fmt.Errorf("%s is not ready: %v\n%s", p.name, p.node().Ready(context.Background()), p.container().LogTail(8))
		}
	}
	return nil
}

// roll replaces all pods of a workload as its controller does, and holds that the budget was kept.
func (k *kube) roll(ctx context.Context, w manifests.Workload) error {
	old := k.of(w)
	slices.Reverse(old)
	ready := time.Duration(w.MinReady) * time.Second
	for i, p := range old {
		name := p.name
		surge := w.Deployment != nil && w.Deployment.Strategy.RollingUpdate != nil && w.Deployment.Strategy.RollingUpdate.MaxSurge.IntValue() > 0
		if surge {
			name = k.name(w, i)
		} else if err := k.remove(p); err != nil {
			return err
		}
		next, err := k.create(w, name)
		if err != nil {
			return err
		}
		if allowed := k.disruptions(w); !surge && allowed > 0 {
			return fmt.Errorf("%d more pods of %s could be taken away while %s is not back", allowed, w.Name, name)
		}
		if err := k.w.await(ctx, name+" is available", func() error {
			if !next.available(ready) {
				return fmt.Errorf("%s: %w", name, or2(k.notReady(w), "for less than minReadySeconds"))
			}
			return nil
		}); err != nil {
			return err
		}
		if surge {
			if err := k.remove(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func or2(err error, text string) error {
	if err == nil {
		err = errors.New(text)
	}
	return err
}

// disruptions is how many pods of a workload an eviction may take away now, by its PodDisruptionBudget.
func (k *kube) disruptions(w manifests.Workload) int {
	for _, b := range k.m.Budgets {
		if !manifests.Within(b.Spec.Selector.MatchLabels, w.Template.Labels) || b.Spec.MaxUnavailable == nil {
			continue
		}
		healthy := 0
		for _, p := range k.of(w) {
			if p.isReady() {
				healthy++
			}
		}
		return max(0, healthy-(w.Replicas-b.Spec.MaxUnavailable.IntValue()))
	}
	return len(k.of(w))
}
