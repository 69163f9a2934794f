package authorize

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"connect-proxy/upstream/watch"
)

// intentions is what decides about the service's callers, written down so that
// two states of it can be compared. What it means stays Consul's to say.
type intentions string

// intentionsWait is how long the agent is asked to wait for a change. It is
// short since an agent goes on waiting for a proxy that has gone, and counts its
// connection.
const intentionsWait = time.Minute

// terms are the parts of an intention that a decision can depend on. The
// rest, such as a description or an index, changes without changing one.
type terms struct {
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
	parts := make([]terms, len(list))
	for i, x := range list {
		parts[i] = terms{
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
func fetchIntentions(o Options) watch.Fetch[intentions] {
	return func(ctx context.Context, cur watch.Cursor, wait time.Duration) (intentions, watch.Cursor, error) {
		answer, meta, err := matchIntentions(ctx, o, cur, wait)
		if err == nil && meta.LastIndex == 0 {
			// Without an index the watch asks every few seconds.
			if list, m, err := matchWithIndex(ctx, o); err == nil {
				answer, meta = list, m
			}
		}
		if err != nil {
			return "", watch.Cursor{}, watch.Needs(err, "intentions:read", o.Service)
		}
		text, err := summarize(answer, meta.DefaultACLPolicy)
		if err != nil {
			return "", watch.Cursor{}, fmt.Errorf("reading intentions: %w", err)
		}
		return text, watch.Cursor{Index: meta.LastIndex}, nil
	}
}

func matchIntentions(ctx context.Context, o Options, cur watch.Cursor, wait time.Duration) ([]*api.Intention, *api.QueryMeta, error) {
	match := &api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{o.Service}}
	answer, meta, err := o.Client.Connect().IntentionMatch(match, o.query(cur, wait).WithContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	var list []*api.Intention
	for _, l := range answer { // one name was asked for
		list = append(list, l...)
	}
	return list, meta, nil
}

// matchWithIndex is for Consul before 1.6, whose match blocks on an index
// that it does not tell. The list of intentions tells it; it is asked first, so
// that a change in between wakes the next match rather than being missed.
func matchWithIndex(ctx context.Context, o Options) ([]*api.Intention, *api.QueryMeta, error) {
	_, index, err := o.Client.Connect().Intentions(o.query(watch.Cursor{}, 0).WithContext(ctx))
	if err != nil {
		return nil, nil, err
	}
	list, meta, err := matchIntentions(ctx, o, watch.Cursor{}, 0)
	if err == nil {
		meta.LastIndex = index.LastIndex
	}
	return list, meta, err
}

func (o Options) query(cur watch.Cursor, wait time.Duration) *api.QueryOptions {
	return &api.QueryOptions{WaitIndex: cur.Index, WaitTime: wait, Namespace: o.Namespace, Partition: o.Partition}
}
