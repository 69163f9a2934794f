package adminapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"connect-proxy/connectproxy/admin"
)

// envoys are the pages of Envoy's admin interface that tools ask for, in Envoy's
// form, with what there is to say here.
func (o Options) envoys() admin.Pages {
	return admin.Pages{
		"GET /server_info":      answer(func(*http.Request) any { return o.serverInfo() }),
		"GET /certs":            answer(func(*http.Request) any { return o.certs(time.Now()) }),
		"GET /clusters":         http.HandlerFunc(o.clusters),
		"GET /listeners":        http.HandlerFunc(o.listeners),
		"GET /config_dump":      http.HandlerFunc(noConfigDump),
		"GET /stats":            http.HandlerFunc(o.stats),
		"GET /stats/prometheus": http.HandlerFunc(o.prometheus),
	}
}

func (o Options) serverInfo() any {
	p := o.Source.Proxy()
	up := fmt.Sprintf("%ds", int64(p.UptimeSeconds))
	return map[string]any{
		"version": p.Version, "state": admin.StateOf(p.Ready, p.Draining),
		"uptime_current_epoch": up, "uptime_all_epochs": up,
		"node": map[string]string{"id": p.ProxyID, "cluster": p.Service},
	}
}

func (o Options) certs(now time.Time) any {
	type name struct {
		URI string `json:"uri"`
	}
	type certificate struct {
		Path    string `json:"path"`
		Serial  string `json:"serial_number"`
		Names   []name `json:"subject_alt_names"`
		Days    string `json:"days_until_expiration"`
		From    string `json:"valid_from,omitempty"`
		Expires string `json:"expiration_time,omitempty"`
	}
	type pair struct {
		CA    []certificate `json:"ca_cert"`
		Chain []certificate `json:"cert_chain"`
	}
	days := func(until time.Time) string { return fmt.Sprint(max(0, int64(until.Sub(now).Hours()/24))) }
	c := o.Source.Certificates()
	p := pair{CA: []certificate{}, Chain: []certificate{}}
	for _, root := range c.Roots {
		ca := certificate{Path: "<agent>", Serial: root.ID, Names: []name{}}
		if !root.NotAfter.IsZero() {
			ca.Days, ca.Expires = days(root.NotAfter), root.NotAfter.UTC().Format(time.RFC3339)
		}
		p.CA = append(p.CA, ca)
	}
	if c.Leaf != nil {
		p.Chain = append(p.Chain, certificate{
			Path: "<agent>", Serial: c.Leaf.Serial, Names: []name{{c.SpiffeID}}, Days: days(c.Leaf.NotAfter),
			From: c.Leaf.NotBefore.UTC().Format(time.RFC3339), Expires: c.Leaf.NotAfter.UTC().Format(time.RFC3339),
		})
	}
	return map[string][]pair{"certificates": {p}}
}

func (o Options) clusters(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	for _, u := range o.Source.Upstreams() {
		fmt.Fprintf(&b, "%s::added_via_api::true\n", u.Destination)
		for _, i := range u.Instances {
			health := "healthy"
			if i.SetAside {
				health = "/failed_outlier_check"
			}
			fmt.Fprintf(&b, "%[1]s::%[2]s::cx_active::%[3]d\n%[1]s::%[2]s::health_flags::%[4]s\n%[1]s::%[2]s::hostname::%[5]s\n",
				u.Destination, i.Address, i.Live, health, i.ID)
		}
	}
	writeText(w, b.String())
}

func (o Options) listeners(w http.ResponseWriter, _ *http.Request) {
	var b strings.Builder
	for _, l := range o.Source.Proxy().Listeners {
		if l.Up {
			fmt.Fprintf(&b, "%s::%s\n", l.Name, l.Address)
		}
	}
	writeText(w, b.String())
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(text)) // the client may be gone
}

// noConfigDump sends those on who look for an Envoy's configuration.
func noConfigDump(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "there is no Envoy to dump: /config has this proxy's configuration; connect-proxy check and explain look for what consul troubleshoot would", http.StatusNotFound)
}

// Help returns a page that lists the patterns of pages, GET before POST.
func Help(pages admin.Pages) http.Handler {
	var b strings.Builder
	for _, pattern := range slices.Sorted(maps.Keys(pages)) {
		b.WriteString(strings.ReplaceAll(pattern, "{$}", "") + "\n")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeText(w, b.String()) })
}

func (o Options) stats(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("format") != "prometheus" {
		http.Error(w, "statistics are served to Prometheus alone: ask for /stats?format=prometheus", http.StatusNotFound)
		return
	}
	o.prometheus(w, r)
}

func (o Options) prometheus(w http.ResponseWriter, r *http.Request) {
	if o.Metrics == nil {
		http.Error(w, "this proxy has no metrics", http.StatusNotFound)
		return
	}
	o.Metrics.ServeHTTP(w, r)
}
