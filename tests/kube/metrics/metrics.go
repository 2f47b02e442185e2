//go:build components

// Package metrics names the metrics-server of the tests, apart from the components: its dependencies are its own.
package metrics

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
