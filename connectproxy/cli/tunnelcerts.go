package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"connect-proxy/config"
	"connect-proxy/connectproxy"
)

// certificates are the files, by -tlscertpath and what beats it.
func (o *tunnelOptions) certificates() (f config.CertificateFiles, problems []string) {
	f = o.files
	for _, file := range []struct {
		flag, name string
		path       *string
	}{{"-cert", "cert.pem", &f.Cert}, {"-key", "key.pem", &f.Key}, {"-cacert", "ca.pem", &f.CA}} {
		switch {
		case *file.path != "":
		case o.certPath != "":
			*file.path = filepath.Join(o.certPath, file.name)
		default:
			problems = append(problems, fmt.Sprintf("%s is missing: give it, or the directory of %s with -tlscertpath", file.flag, file.name))
		}
	}
	return f, problems
}

// unusable returns why files cannot be used, by the flags that name them.
func (o *tunnelOptions) unusable(c *config.Config) (problems []string) {
	for _, m := range connectproxy.FileMistakes(c) {
		problems = append(problems, o.kind.name+": "+o.flagOf(m.Problem)+": "+m.Problem)
	}
	return problems
}

// flagOf is the flag that names the file which a problem is about: the one that it
// names first.
func (o *tunnelOptions) flagOf(problem string) string {
	f, _ := o.certificates()
	flag, first, longest := "-tlscertpath", len(problem), 0
	for _, file := range []struct{ flag, path, given string }{
		{"-cert", f.Cert, o.files.Cert}, {"-key", f.Key, o.files.Key}, {"-cacert", f.CA, o.files.CA},
	} {
		at := strings.Index(problem, file.path)
		if at < 0 || at > first || at == first && len(file.path) < longest {
			continue
		}
		if flag, first, longest = "-tlscertpath", at, len(file.path); file.given != "" {
			flag = file.flag
		}
	}
	return flag
}
