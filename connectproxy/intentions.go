package connectproxy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/connectproxy/watch"
)

// intentions is what decides about the service's callers, written down so that
// two states of it can be compared. What it means stays Consul's to say.
type intentions string

// deciding are the parts of an intention that a decision can depend on. The
// rest, such as a description or an index, changes without changing one.
type deciding struct {
	SourceNS, SourceName, SourcePartition, SourcePeer string
	SourceSamenessGroup                               string
	SourceType                                        api.IntentionSourceType
	DestinationNS, DestinationName                    string
	Action                                            api.IntentionAction
	Permissions                                       []*api.IntentionPermission `json:",omitempty"`
	Precedence                                        int
}

// summarize keeps the order, which is the precedence.
func summarize(list []*api.Intention, defaultPolicy string) (intentions, error) {
	parts := make([]deciding, len(list))
	for i, x := range list {
		parts[i] = deciding{
			SourceNS: x.SourceNS, SourceName: x.SourceName,
			SourcePartition: x.SourcePartition, SourcePeer: x.SourcePeer,
			SourceSamenessGroup: x.SourceSamenessGroup, SourceType: x.SourceType,
			DestinationNS: x.DestinationNS, DestinationName: x.DestinationName,
			Action: x.Action, Permissions: x.Permissions, Precedence: x.Precedence,
		}
	}
	text, err := json.Marshal(parts)
	return intentions(defaultPolicy + " " + string(text)), err
}

// fetchIntentions asks which intentions match the service as a destination.
func fetchIntentions(o authorizerOptions) watch.Fetch[intentions] {
	return func(ctx context.Context, cur watch.Cursor, wait time.Duration) (intentions, watch.Cursor, error) {
		q := &api.QueryOptions{
			WaitIndex: cur.Index, WaitTime: wait,
			Namespace: o.Namespace, Partition: o.Partition,
		}
		match := &api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{o.Service}}
		answer, meta, err := o.Client.Connect().IntentionMatch(match, q.WithContext(ctx))
		if err != nil {
			return "", watch.Cursor{}, needs(err, "intentions:read", o.Service)
		}
		var list []*api.Intention
		for _, l := range answer { // one name was asked for
			list = append(list, l...)
		}
		text, err := summarize(list, meta.DefaultACLPolicy)
		if err != nil {
			return "", watch.Cursor{}, fmt.Errorf("reading intentions: %w", err)
		}
		return text, watch.Cursor{Index: meta.LastIndex}, nil
	}
}
