package manifests

import (
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Workload is what runs pods: a Deployment or a StatefulSet.
type Workload struct {
	Name     string
	Replicas int
	MinReady int // seconds
	Selector map[string]string
	Template corev1.PodTemplateSpec

	StatefulSet *appsv1.StatefulSetSpec // nil of a Deployment
	Deployment  *appsv1.DeploymentSpec  // nil of a StatefulSet
}

// Cluster is what the objects of the base are.
type Cluster struct {
	Objects   int
	Workloads []Workload
	Services  map[string]corev1.ServiceSpec
	Budgets   []policyv1.PodDisruptionBudget
	Policies  []networkingv1.NetworkPolicy
	Configs   map[string]map[string]string
}

// Kubernetes builds the base and reads every object strictly into its type.
func Kubernetes(dir string) (*Cluster, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), in(dir, baseFolder))
	if err != nil {
		return nil, fmt.Errorf("kustomize: %w", err)
	}
	c := &Cluster{Objects: built.Size(), Services: map[string]corev1.ServiceSpec{}, Configs: map[string]map[string]string{}}
	for _, r := range built.Resources() {
		text, yerr := r.AsYAML()
		if yerr == nil {
			yerr = c.add(r.GetKind(), text)
		}
		if yerr != nil {
			err = errors.Join(err, fmt.Errorf("%s %s: %w", r.GetKind(), r.GetName(), yerr))
		}
	}
	return c, err
}

func (c *Cluster) add(kind string, text []byte) error {
	switch kind {
	case "Service":
		return decode(text, func(s corev1.Service) { c.Services[s.Name] = s.Spec })
	case "ConfigMap":
		return decode(text, func(m corev1.ConfigMap) { c.Configs[m.Name] = m.Data })
	case "Deployment":
		return decode(text, func(d appsv1.Deployment) {
			c.Workloads = append(c.Workloads, Workload{
				d.Name, replicas(d.Spec.Replicas), int(d.Spec.MinReadySeconds), d.Spec.Selector.MatchLabels, d.Spec.Template, nil, &d.Spec,
			})
		})
	case "StatefulSet":
		return decode(text, func(s appsv1.StatefulSet) {
			c.Workloads = append(c.Workloads, Workload{
				s.Name, replicas(s.Spec.Replicas), int(s.Spec.MinReadySeconds), s.Spec.Selector.MatchLabels, s.Spec.Template, &s.Spec, nil,
			})
		})
	case "PodDisruptionBudget":
		return decode(text, func(b policyv1.PodDisruptionBudget) { c.Budgets = append(c.Budgets, b) })
	case "NetworkPolicy":
		return decode(text, func(p networkingv1.NetworkPolicy) { c.Policies = append(c.Policies, p) })
	}
	return errors.New("nothing is known of this kind: add it to package manifests")
}

func replicas(n *int32) int {
	if n == nil {
		return 1
	}
	return int(*n)
}

func decode[T any](text []byte, take func(T)) error {
	var v T
	if err := yaml.UnmarshalStrict(text, &v); err != nil {
		return err
	}
	take(v)
	return nil
}

// Within reports whether labels have all of a selector.
func Within(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// Port is the number of a container's port, by name; 0 when it has none of that name.
func Port(spec corev1.PodSpec, name string) int {
	for _, c := range spec.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return int(p.ContainerPort)
			}
		}
	}
	return 0
}
