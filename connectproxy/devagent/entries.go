package devagent

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"github.com/hashicorp/consul/api"
)

func (a *Agent) putEntry(r *http.Request) answer {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return a.badRequest("Request decoding failed: " + err.Error())
	}
	entry, err := api.DecodeConfigEntryFromJSON(bytes.TrimSpace(body))
	if err != nil {
		return a.badRequest("Request decoding failed: " + err.Error())
	}
	switch name := entry.GetName(); {
	case name == "":
		return answer{status: http.StatusInternalServerError, text: "Name is required"}
	case len(name) > maxName:
		return a.badRequest("the entry's name is too long")
	}
	switch e := entry.(type) {
	case *api.ServiceResolverConfigEntry:
		return a.putResolver(e)
	case *api.ServiceIntentionsConfigEntry:
		return a.putIntentionsEntry(e)
	case *api.MeshConfigEntry:
		return a.putMesh(e)
	}
	return unknownKind(entry.GetKind())
}

// unknownKind refuses what would be stored and then not be done.
func unknownKind(kind string) answer {
	return answer{status: http.StatusBadRequest, text: fmt.Sprintf(
		"this agent knows the config entries %s, %s and %s, and no %q", api.ServiceResolver, api.ServiceIntentions, api.MeshConfig, kind)}
}

// putIntentionsEntry stores the intentions to one service, in place of all that
// there were.
func (a *Agent) putIntentionsEntry(e *api.ServiceIntentionsConfigEntry) answer {
	var all []intention
	for n, s := range e.Sources {
		if s == nil {
			continue
		}
		if s.Peer != "" || s.SamenessGroup != "" || e.JWT != nil {
			return answer{status: http.StatusBadRequest, text: "this agent knows no peers, sameness groups and JWTs"}
		}
		if len(s.Permissions) > 0 {
			return noPermissions(e.Name)
		}
		i := intention{
			source: s.Name, destination: e.Name,
			action: string(s.Action), description: s.Description,
		}
		if problem := i.problem(); problem != "" {
			return answer{status: http.StatusInternalServerError, text: fmt.Sprintf("Sources[%d].%s", n, problem)}
		}
		all = append(all, i)
	}
	if len(all) == 0 {
		return answer{status: http.StatusInternalServerError, text: "At least one source is required"}
	}
	a.drop(func(i intention) bool {
		return i.destination == e.Name && !slices.ContainsFunc(all, func(n intention) bool { return n.source == i.source })
	})
	for _, i := range all {
		if !a.put(i) {
			return full("intentions")
		}
	}
	return answer{body: true}
}

// intentionsEntry is the entry of the intentions to a service, nil without any.
func (a *Agent) intentionsEntry(name string) *api.ServiceIntentionsConfigEntry {
	e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: name}
	for _, i := range a.intentions {
		if i.destination != name {
			continue
		}
		e.Sources = append(e.Sources, &api.SourceIntention{
			Name: i.source, Action: api.IntentionAction(i.action),
			Precedence: i.precedence(), Type: api.IntentionSourceConsul, Description: i.description,
		})
		if e.CreateIndex == 0 || i.created < e.CreateIndex {
			e.CreateIndex = i.created
		}
		e.ModifyIndex = max(e.ModifyIndex, i.modified)
	}
	if len(e.Sources) == 0 {
		return nil
	}
	return e
}

func (a *Agent) getEntry(r *http.Request) answer {
	kind, name := r.PathValue("kind"), r.PathValue("name")
	if a.o.Managed { // it has others, and none of these
		return answer{status: http.StatusInternalServerError, text: "invalid config entry kind: " + kind}
	}
	now := answer{index: a.entriesIndex, headers: headers{meta: true}}
	switch kind {
	case api.ServiceResolver:
		if r := a.resolvers[name]; r != nil {
			now.body = r.entry
		}
	case api.ServiceIntentions:
		now.index = a.intentionsIndex
		if e := a.intentionsEntry(name); e != nil {
			now.body = e
		}
	case api.MeshConfig:
		if a.mesh != nil && name == api.MeshConfigMesh {
			now.body = a.mesh
		}
	default:
		return unknownKind(kind)
	}
	if now.body == nil {
		now.status, now.text = http.StatusNotFound, fmt.Sprintf("Config entry not found for %q / %q", kind, name)
	}
	return now
}

func (a *Agent) listEntries(r *http.Request) answer {
	now := answer{index: a.entriesIndex, headers: headers{meta: true}}
	all := []api.ConfigEntry{}
	switch kind := r.PathValue("kind"); kind {
	case api.ServiceResolver:
		for _, name := range slices.Sorted(maps.Keys(a.resolvers)) {
			all = append(all, a.resolvers[name].entry)
		}
	case api.ServiceIntentions:
		now.index = a.intentionsIndex
		names := map[string]bool{}
		for _, i := range a.intentions {
			names[i.destination] = true
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			all = append(all, a.intentionsEntry(name))
		}
	case api.MeshConfig:
		if a.mesh != nil {
			all = append(all, a.mesh)
		}
	default:
		return unknownKind(kind)
	}
	now.body = all
	return now
}

func (a *Agent) deleteEntry(r *http.Request) answer {
	kind, name := r.PathValue("kind"), r.PathValue("name")
	switch kind {
	case api.ServiceResolver:
		if a.resolvers[name] != nil {
			delete(a.resolvers, name)
			a.entriesIndex = a.next()
		}
	case api.ServiceIntentions:
		a.drop(func(i intention) bool { return i.destination == name })
	case api.MeshConfig:
		if a.mesh != nil && name == api.MeshConfigMesh {
			a.mesh, a.entriesIndex = nil, a.next()
		}
	default:
		return unknownKind(kind)
	}
	return answer{body: struct{}{}}
}
