package devagent

import (
	"fmt"
	"net/http"

	"github.com/hashicorp/go-bexpr"
)

// maxFilter is of an expression.
const maxFilter = 4 << 10

// filterOf compiles a filter expression over values of a type; an empty one
// keeps everything.
func filterOf[T any](expression string) (func([]T) ([]T, error), error) {
	if expression == "" {
		return func(all []T) ([]T, error) { return all, nil }, nil
	}
	if len(expression) > maxFilter {
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxFilter)
	}
	filter, err := bexpr.CreateFilter(expression, nil, []T{})
	if err != nil {
		return nil, err
	}
	return func(all []T) ([]T, error) {
		kept, err := filter.Execute(all)
		if err != nil {
			return nil, err
		}
		return kept.([]T), nil
	}, nil
}

// filtered is what the request's filter keeps of all.
func filtered[T any](a *Agent, r *http.Request, all []T) ([]T, answer, bool) {
	filter, err := filterOf[T](r.URL.Query().Get("filter"))
	if err == nil {
		all, err = filter(all)
	}
	if err != nil {
		return nil, a.badRequest("the filter is no expression about this answer: " + err.Error()), false
	}
	return all, answer{}, true
}
