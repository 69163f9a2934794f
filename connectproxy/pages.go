package connectproxy

import (
	"maps"
	"net/http"

	"connect-proxy/connectproxy/admin"
	"connect-proxy/connectproxy/adminapi"
)

// newAdmin makes the servers of the admin pages and of readiness alone.
func (p *Proxy) newAdmin() error {
	serve := func(name, address string, pages admin.Pages) error {
		s, err := admin.New(admin.Options{Name: name, Address: address, Pages: pages, Logger: p.logger})
		if err == nil {
			p.admin = append(p.admin, s)
		}
		return err
	}
	pages := p.pages()
	var err error
	if p.shown, err = p.shownPages(pages); err != nil {
		return err
	}
	if p.o.Admin != "" {
		if err := serve("admin", p.o.Admin, pages); err != nil {
			return err
		}
	}
	ready := adminapi.Bounded(admin.ReadyAlone(func() admin.State {
		return admin.StateOf(p.readiness().Ready, p.published.Load().draining)
	}), p.pageNotRead)
	for _, address := range p.o.ReadyAlone {
		if err := serve("ready", address, ready); err != nil {
			return err
		}
	}
	return nil
}

// pages are what the admin listener serves.
func (p *Proxy) pages() admin.Pages {
	all := admin.Readiness(func() admin.Report {
		s := p.Status()
		return admin.Report{Ready: s.Ready, Reasons: s.Reasons, Warnings: s.Warnings, Details: s}
	})
	all["GET /metrics"] = p.metrics.Handler(p.pageNotRead)
	maps.Copy(all, adminapi.Pages(adminapi.Options{Source: adminSource{p}, Events: p.o.Events, Level: p.o.LogLevel, Metrics: p.metrics.Handler(p.pageNotRead)}))
	all["GET /help"] = adminapi.Help(all)
	return adminapi.Bounded(all, p.pageNotRead)
}

// shownPages are what applications of Micro are shown: /stats/ is the dashboard, with
// what it asks for, and /health is the page of that name, with a status by which
// programs can tell that the proxy is not ready.
func (p *Proxy) shownPages(pages admin.Pages) (http.Handler, error) {
	shown := pages.Shown()
	shown["GET /help"] = adminapi.Help(shown)
	stats, err := shown.Handler()
	if err != nil {
		return nil, err
	}
	health := admin.Pages{"GET /health": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s, code := p.Status(), http.StatusOK
		if !s.Ready {
			code = http.StatusServiceUnavailable
		}
		admin.WriteJSON(w, code, s)
	})}
	one, err := adminapi.Bounded(health, p.pageNotRead).Handler()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/stats/", http.StripPrefix("/stats", stats))
	mux.Handle("/health", one)
	return mux, nil
}
