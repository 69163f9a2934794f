package answer

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/hashicorp/consul/api"
)

// Query asks c at endpoint and returns the answer's bytes, which may be those of
// into and are good until that is used again. They need not be JSON. Errors are
// consul/api's, such as api.StatusError, and those of reading the body.
func Query(ctx context.Context, c *api.Client, endpoint string, q *api.QueryOptions, into *bytes.Buffer) ([]byte, *api.QueryMeta, error) {
	into.Reset()
	ctx, taken := With(ctx, func(body io.Reader) error {
		_, err := into.ReadFrom(body)
		return err
	})
	var decoded json.RawMessage
	meta, err := c.Raw().Query(endpoint, &decoded, q.WithContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	switch done, err := taken.Done(); {
	case err != nil:
		return nil, nil, err
	case !done:
		return decoded, meta, nil
	}
	return into.Bytes(), meta, nil
}
