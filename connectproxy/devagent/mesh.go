package devagent

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"
)

// tlsVersions are Consul's names, the oldest first. The first means none in
// particular.
var tlsVersions = []string{"TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"}

// putMesh stores the mesh's entry: the bounds of TLS for all proxies.
func (a *Agent) putMesh(e *api.MeshConfigEntry) answer {
	if e.HTTP != nil || e.Peering != nil || e.ValidateClusters || e.AllowEnablingPermissiveMutualTLS || e.TransparentProxy.MeshDestinationsOnly {
		return answer{status: http.StatusBadRequest, text: "this agent knows the TLS of the mesh entry and nothing else of it"}
	}
	if e.TLS != nil {
		for direction, d := range map[string]*api.MeshDirectionalTLSConfig{"incoming": e.TLS.Incoming, "outgoing": e.TLS.Outgoing} {
			if err := tlsProblem(d); err != nil {
				return answer{status: http.StatusInternalServerError, text: fmt.Sprintf("error in %s TLS configuration: %v", direction, err)}
			}
		}
	}
	e.ModifyIndex = a.next()
	e.CreateIndex = e.ModifyIndex
	if a.mesh != nil {
		e.CreateIndex = a.mesh.CreateIndex
	}
	a.mesh, a.entriesIndex = e, e.ModifyIndex
	return answer{body: true}
}

func tlsProblem(d *api.MeshDirectionalTLSConfig) error {
	if d == nil {
		return nil
	}
	oldest, newest := slices.Index(tlsVersions, d.TLSMinVersion), slices.Index(tlsVersions, d.TLSMaxVersion)
	unknown := func(version string) error {
		return fmt.Errorf("no matching TLS version found for %s, please specify one of [%s]", version, strings.Join(tlsVersions, ", "))
	}
	switch {
	case d.TLSMinVersion != "" && oldest < 0:
		return unknown(d.TLSMinVersion)
	case d.TLSMaxVersion != "" && newest < 0:
		return unknown(d.TLSMaxVersion)
	case newest > 0 && newest < oldest:
		return fmt.Errorf("configuring max version %s less than the configured min version %s is invalid", d.TLSMaxVersion, d.TLSMinVersion)
	case len(d.CipherSuites) > 0 && d.TLSMinVersion == "TLSv1_3":
		return errors.New("configuring CipherSuites is only applicable to connections negotiated with TLS 1.2 or earlier, TLSMinVersion is set to TLSv1_3")
	}
	return nil
}
