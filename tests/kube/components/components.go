//go:build components

// Package components names what the tests run of Kubernetes, so that go.mod and go.sum have all that its
// build needs. Nothing of it is compiled into muster.
package components

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
