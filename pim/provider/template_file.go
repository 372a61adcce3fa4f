package provider

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport/sallyport/internal/strictyaml"
)

const maxTemplateFile = 64 << 10

// ReadTemplate reads what a file says of an API: all of a TemplateConfig but what it is
// called, where it is, and what it knows us by. A key that it doesn't know, or that is
// there twice, is an error.
func ReadTemplate(name string) (*TemplateConfig, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTemplateFile+1))
	if err == nil {
		var cfg *TemplateConfig
		if cfg, err = parseTemplate(data); err == nil {
			return cfg, nil
		}
	}
	return nil, fmt.Errorf("template %s: %w", name, err)
}

func parseTemplate(data []byte) (*TemplateConfig, error) {
	if len(data) > maxTemplateFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxTemplateFile)
	}
	if _, line, err := strictyaml.Parse(data); err != nil {
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	cfg := new(TemplateConfig)
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(cfg); err != nil {
		return nil, err
	}
	return cfg, nil
}
