package cli

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
)

// example is the text of one.
func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// kubernetesArgs are those of the pod's proxy.
func kubernetesArgs(t *testing.T, podIP, podName string) (args []string) {
	t.Helper()
	pod := strings.NewReplacer("$(POD_IP)", podIP, "$(POD_NAME)", podName).Replace(example(t, "kubernetes/web.yaml"))
	for _, m := range regexp.MustCompile(`(?m)^        - (-[a-z]\S*)$`).FindAllStringSubmatch(pod, -1) {
		args = append(args, m[1])
	}
	return args
}

// composeArgs are those of each proxy, in the order of the file.
func composeArgs(t *testing.T) (all [][]string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`command: \[(-.*)\]`).FindAllStringSubmatch(example(t, "compose/compose.yaml"), -1) {
		var args []string
		for word := range strings.SplitSeq(m[1], ",") {
			args = append(args, strings.Trim(word, ` "`))
		}
		all = append(all, args)
	}
	if len(all) != 2 {
		t.Fatalf("compose: %d command lines", len(all))
	}
	return all
}

// The arguments in the examples are those of this version. What stands around
// them belongs to Nomad, Kubernetes and compose.
func TestTheExamplesHaveFlagsThatMakeSense(t *testing.T) {
	try := func(name string, args ...string) {
		if len(args) == 0 {
			t.Fatalf("%s: no arguments found", name)
		}
		env := fakeEnv(map[string]string{})
		if _, problems := newPlan(t.Context(), args, env, io.Discard); len(problems) > 0 {
			t.Errorf("%s: %q: %q", name, args, problems)
		}
	}
	nomad := example(t, "nomad/web.nomad.hcl")
	if _, diags := hclparse.NewParser().ParseHCL([]byte(nomad), "web.nomad.hcl"); diags.HasErrors() {
		t.Error(diags)
	}
	try("nomad", quotedWords(t, nomad, `(?s)command = "/usr/bin/connect-proxy".*?args = \[(.*?)\]`)...)
	try("kubernetes", kubernetesArgs(t, "10.0.0.1", "web-0")...)
	for _, args := range composeArgs(t) {
		try("compose", args...)
	}
}

// quotedWords are the quoted words of the first match.
func quotedWords(t *testing.T, text, pattern string) []string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no match of %s", pattern)
	}
	var words []string
	for _, w := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(m[1], -1) {
		words = append(words, w[1])
	}
	return words
}
