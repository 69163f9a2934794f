package agenttest

import (
	"net/http"
	"net/url"
)

// PutQuery makes a prepared query, an *api.PreparedQueryDefinition or anything
// else that encodes to one, and returns its ID.
func (a *Agent) PutQuery(definition any) string {
	a.t.Helper()
	var made struct{ ID string }
	a.Do(http.MethodPost, "/v1/query", definition, &made)
	return made.ID
}

// DeleteQuery deletes a prepared query by its ID.
func (a *Agent) DeleteQuery(id string) {
	a.t.Helper()
	a.Do(http.MethodDelete, "/v1/query/"+url.PathEscape(id), nil, nil)
}
