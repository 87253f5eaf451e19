//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ringside-edge/ringside/deploy/manifests"
)

// rules are the network policies for a pod as a ruleset for its namespace; empty when none selects it, and all may reach it. As with any
// network plugin, answers come in, and so does the node, whose probes ask.
func rules(policies []networkingv1.NetworkPolicy, of *pod, pods []*pod) (string, error) {
	var b strings.Builder
	selected := false
	for _, p := range policies {
		if of.namespace != home || !manifests.Within(p.Spec.PodSelector.MatchLabels, of.labels) {
			continue
		}
		selected = true
		for _, in := range p.Spec.Ingress {
			from, err := sources(in.From, pods)
			if err != nil {
				return "", fmt.Errorf("NetworkPolicy %s: %w", p.Name, err)
			}
			for _, port := range in.Ports {
				to, err := target(port, of.spec)
				if err != nil {
					return "", fmt.Errorf("NetworkPolicy %s: %w", p.Name, err)
				}
				if from != "none" {
					fmt.Fprintf(&b, "%s %s accept\n", from, to)
				}
			}
		}
	}
	if !selected {
		return "", nil
	}
	return "table inet pod {\nchain in {\ntype filter hook input priority 0; policy drop;\niif lo accept\nct state established,related accept\nip saddr " +
		of.host.Node + " accept\n" + b.String() + "}\n}\n", nil
}

// sources is the match for where something comes from: empty for anywhere, "none" when there is nobody at present.
func sources(peers []networkingv1.NetworkPolicyPeer, pods []*pod) (string, error) {
	if len(peers) == 0 {
		return "", nil
	}
	var addrs []string
	for _, peer := range peers {
		if peer.IPBlock != nil {
			return "", fmt.Errorf("an ipBlock is not modelled")
		}
		for _, p := range pods {
			namespace := map[string]string{"kubernetes.io/metadata.name": p.namespace}
			switch {
			case peer.NamespaceSelector == nil && p.namespace != home,
				peer.NamespaceSelector != nil && !manifests.Within(peer.NamespaceSelector.MatchLabels, namespace),
				peer.PodSelector != nil && !manifests.Within(peer.PodSelector.MatchLabels, p.labels):
			default:
				addrs = append(addrs, p.host.IP)
			}
		}
	}
	if len(addrs) == 0 {
		return "none", nil
	}
	return "ip saddr { " + strings.Join(addrs, ", ") + " }", nil
}

// target is the match for a port of a pod.
func target(port networkingv1.NetworkPolicyPort, spec corev1.PodSpec) (string, error) {
	proto := "tcp"
	if port.Protocol != nil {
		proto = strings.ToLower(string(*port.Protocol))
	}
	n := port.Port.IntValue()
	if port.Port.Type == intstr.String {
		n = 0
		for _, c := range spec.Containers {
			for _, p := range c.Ports {
				if p.Name == port.Port.StrVal && strings.EqualFold(or(string(p.Protocol), "TCP"), proto) {
					n = int(p.ContainerPort)
				}
			}
		}
	}
	if n == 0 {
		return "", fmt.Errorf("there is no port %s/%s", port.Port, proto)
	}
	return fmt.Sprintf("%s dport %d", proto, n), nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// enforce puts a pod's ruleset into its namespace, in one step.
func (w *world) enforce(p *pod, rules string) error {
	if rules == "" {
		return nil
	}
	return w.lab.In(p.host, func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader("table inet pod\ndelete table inet pod\n" + rules)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
}
