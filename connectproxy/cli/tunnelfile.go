package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"connect-proxy/config"
)

// filesIdentity names the identity in the file that flags come to.
const filesIdentity = "files"

// file is the configuration file that says what the flags say, or every mistake
// in them.
func (o *tunnelOptions) file() (text string, problems []string) {
	src, err := config.ParseAddress(o.src)
	switch {
	case o.src == "":
		problems = append(problems, "-src is missing: say where connections are accepted, such as -src :16379")
	case err != nil:
		problems = append(problems, "-src "+err.Error())
	case src.Path == "" && src.Host == "" && !o.kind.server:
		src.Host = config.DefaultLocalHost
	}
	dst, more := o.destinations()
	if problems = append(problems, more...); len(problems) == 0 {
		problems = append(problems, o.plaintext(src, dst)...)
	}
	var b strings.Builder
	if o.kind.secured {
		f, more := o.certificates()
		problems = append(problems, more...)
		fmt.Fprintf(&b, "identity %q {\n  cert_file = %s\n  key_file  = %s\n  ca_file   = %s\n}\n\n", filesIdentity, hclText(f.Cert), hclText(f.Key), hclText(f.CA))
	}
	for _, text := range o.quotedTexts() {
		if strings.ContainsFunc(text, unicode.IsControl) {
			problems = append(problems, fmt.Sprintf("%q has bytes in it that no setting has", text))
		}
	}
	if len(problems) > 0 {
		return "", problems
	}
	if o.kind.server {
		o.server(&b, src, dst[0])
	} else {
		o.client(&b, src, dst)
	}
	return b.String(), nil
}

func (o *tunnelOptions) server(b *strings.Builder, src, dst config.Address) {
	allow := []string(o.verify)
	if len(allow) == 0 {
		allow = []string{"*"}
	}
	b.WriteString("public_listener {\n")
	writeBind(b, "bind", src)
	to := dst.String()
	if dst.Path != "" {
		to = "unix:" + dst.Path
	}
	fmt.Fprintf(b, "  local_service_address = %s\n  allow = %s\n}\n", hclText(to), hclList(allow))
}

func (o *tunnelOptions) client(b *strings.Builder, src config.Address, dst []config.Address) {
	b.WriteString("upstream {\n")
	writeBind(b, "local_bind", src)
	switch one := len(dst) == 1; {
	case o.etcd.isSet():
		o.etcd.write(b)
	case one && strings.HasPrefix(o.dst[0], "_"):
		fmt.Fprintf(b, "  destination_type = \"dns\"\n  destination_name = %s\n", hclText(o.dst[0]))
	default:
		fmt.Fprintf(b, "  destination_addresses = %s\n", hclList(addressesOf(dst)))
	}
	fmt.Fprintf(b, "  balance = %s\n", hclText(o.balance))
	if !o.kind.secured {
		fmt.Fprintf(b, "  identity = %q\n", config.PlaintextIdentity)
	}
	if len(o.verify) > 0 {
		fmt.Fprintf(b, "  verify = %s\n", hclList(o.verify))
	}
	b.WriteString("}\n")
}

func addressesOf(all []config.Address) []string {
	var texts []string
	for _, a := range all {
		texts = append(texts, a.String())
	}
	return slices.Clip(texts)
}

func writeBind(b *strings.Builder, prefix string, a config.Address) {
	if a.Path != "" {
		fmt.Fprintf(b, "  %s_socket_path = %s\n", prefix, hclText(a.Path))
		return
	}
	if a.Host != "" {
		fmt.Fprintf(b, "  %s_address = %s\n", prefix, hclText(a.Host))
	}
	fmt.Fprintf(b, "  %s_port = %d\n", prefix, a.Port)
}

// hclText writes a text that has no control characters.
func hclText(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}

func hclList(all []string) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = hclText(s)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}
