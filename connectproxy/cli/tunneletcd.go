package cli

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"connect-proxy/config"
)

const (
	etcdFlagsHelp = `  -srv PREFIX, -dsc URL
      Instead of -dst: the instances are keys in etcd, as PREFIX/10.0.1.134:6379,
      and etcd is at http://HOST:PORT or https://HOST:PORT; -dsc is repeatable, or
      has commas between several.%s
      Only the program that "make build-etcd" builds has them.
  -dsc-cacert FILE, -dsc-cert FILE, -dsc-key FILE
      For etcd by https: its authorities, if not the system's, and what one that
      asks for a certificate is shown.
  -dsc-user NAME, -dsc-password-file FILE
      For an etcd that asks for a user: the password is the first line of the file,
      and goes to another machine by https alone.
`
	etcdUsage = "\n       connect-proxy %[1]s -src ADDRESS -srv PREFIX -dsc URL%[2]s"
)

// etcdOptions are the flags for instances that are keys in etcd.
type etcdOptions struct {
	prefix string
	dsc    stringList
	config.Etcd
}

func (e *etcdOptions) flags(fs *flag.FlagSet) {
	fs.StringVar(&e.prefix, "srv", "", "")
	fs.Var(&e.dsc, "dsc", "")
	fs.StringVar(&e.CAFile, "dsc-cacert", "", "")
	fs.StringVar(&e.CertFile, "dsc-cert", "", "")
	fs.StringVar(&e.KeyFile, "dsc-key", "", "")
	fs.StringVar(&e.Username, "dsc-user", "", "")
	fs.StringVar(&e.PasswordFile, "dsc-password-file", "", "")
}

// isSet reports whether any of them was.
func (e *etcdOptions) isSet() bool {
	return e.prefix != "" || len(e.dsc) > 0 || e.Etcd != config.Etcd{}
}

// endpoints are those of all -dsc.
func (e *etcdOptions) endpoints() (all []string) {
	for _, text := range e.dsc {
		for endpoint := range strings.SplitSeq(text, ",") {
			all = append(all, strings.TrimSpace(endpoint))
		}
	}
	return all
}

// texts are what the file quotes and a mistake may show.
func (e *etcdOptions) texts() []string {
	return []string{e.prefix, e.CAFile, e.CertFile, e.KeyFile, e.PasswordFile}
}

// problems are the mistakes that the file's own checks do not see. None of them
// shows an endpoint or a user, where somebody may have put a password.
func (e *etcdOptions) problems(dst []string) (problems []string) {
	if len(dst) > 0 {
		problems = append(problems, "-dst and -srv: give one of them: where connections lead is said by flags, or by etcd")
	}
	if strings.Trim(e.prefix, "/") == "" {
		problems = append(problems, "-srv is missing: say what the keys begin with, such as -srv /srv/redis/debug")
	}
	if len(e.dsc) == 0 {
		problems = append(problems, "-dsc is missing: say where etcd is, such as -dsc https://etcd-0.example.org:2379")
	}
	if strings.ContainsFunc(strings.Join(e.dsc, "")+e.Username, unicode.IsControl) {
		problems = append(problems, "-dsc or -dsc-user has bytes in it that no setting has")
	}
	if strings.Contains(e.Username, ":") {
		problems = append(problems, "-dsc-user: a name alone: the password is in the file of -dsc-password-file")
	}
	return problems
}

// write writes the settings of the file's upstream.
func (e *etcdOptions) write(b *strings.Builder) {
	fmt.Fprintf(b, "  destination_type = %q\n  destination_name = %s\n  etcd_endpoints = %s\n", config.EtcdKeys, hclText(e.prefix), hclList(e.endpoints()))
	for _, s := range []struct{ key, value string }{
		{"etcd_ca_file", e.CAFile}, {"etcd_cert_file", e.CertFile}, {"etcd_key_file", e.KeyFile},
		{"etcd_username", e.Username}, {"etcd_password_file", e.PasswordFile},
	} {
		if s.value != "" {
			fmt.Fprintf(b, "  %s = %s\n", s.key, hclText(s.value))
		}
	}
}

// withoutEtcd is what to say where they are given to a program that has no etcd.
func (o *tunnelOptions) withoutEtcd(ctx context.Context) (problem string, refused bool) {
	if !o.etcd.isSet() || built(ctx, config.EtcdKeys) {
		return "", false
	}
	return o.kind.name + ": -srv and -dsc: this program is built without etcd: `make build-etcd` builds the one that has it", true
}

// quotedTexts are what the file quotes of all flags, and a mistake may show.
func (o *tunnelOptions) quotedTexts() []string {
	return slices.Concat([]string{o.src, o.certPath, o.files.Cert, o.files.Key, o.files.CA, o.balance}, o.etcd.texts(), o.verify, o.dst)
}
