package settings

import (
	"fmt"
	"reflect"
)

// leaf is one value of a Config that has no keys of its own.
type leaf struct {
	path  string
	field field
	value reflect.Value
}

// leaves calls visit for each value below v, in the order of the declarations.
// Lists of sections are walked by index, sections that are absent left out.
func leaves(v reflect.Value, path string, visit func(leaf)) {
	for _, f := range fieldsOf(v.Type()) {
		value, at := v.Field(f.index), join(path, f.key)
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				continue
			}
			value = value.Elem()
		}
		switch t := value.Type(); {
		case isSection(t):
			leaves(value, at, visit)
		case t.Kind() == reflect.Slice && isSection(t.Elem()):
			for i := range value.Len() {
				leaves(value.Index(i), fmt.Sprintf("%s[%d]", at, i), visit)
			}
		default:
			visit(leaf{path: at, field: f, value: value})
		}
	}
}
