//go:build before137 && before136

package main

import v1 "k8s.io/api/core/v1"

func (m *measured) GetNode() (*v1.Node, error) { return m.object(), nil }
