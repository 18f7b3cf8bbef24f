package faults

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// ParseAll parses YAML or JSON documents of one fault each. It skips empty documents, but data without any fault is an
// error.
func ParseAll(data []byte) ([]Fault, error) {
	var all []Fault
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		asJSON, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, err
		}
		if string(asJSON) == "null" {
			continue
		}
		fault, err := Parse(asJSON)
		if err != nil {
			return nil, fmt.Errorf("fault %d: %w", len(all)+1, err)
		}
		all = append(all, fault)
	}
	if len(all) == 0 {
		return nil, errors.New("contains no fault; a fault needs at least a kind, as in `kind: cut`")
	}
	return all, nil
}
