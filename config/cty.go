package config

import (
	"encoding/json"

	"github.com/zclconf/go-cty/cty"
)

// plain turns a value of HCL's into one of JSON's types.
func plain(v cty.Value) any {
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	switch t := v.Type(); {
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		return json.Number(v.AsBigFloat().Text('g', -1))
	case t.IsTupleType(), t.IsListType(), t.IsSetType():
		list := []any{}
		for _, item := range v.AsValueSlice() {
			list = append(list, plain(item))
		}
		return list
	case t.IsObjectType(), t.IsMapType():
		block := map[string]any{}
		for name, item := range v.AsValueMap() {
			block[name] = plain(item)
		}
		return block
	}
	return nil
}
