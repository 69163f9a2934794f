package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connect-proxy/connectproxy/agenttest"
)

func TestACompletionFileIsReadByItsShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			code, text, problem := program(t, "completion", shell)
			if code != exitDrained || !strings.Contains(text, "explain") || !strings.Contains(text, "sidecar-for") {
				t.Fatalf("%d, %s:\n%s", code, problem, text)
			}
			path := agenttest.Program(t, shell)
			file := filepath.Join(t.TempDir(), "completion")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), path, "-n", file).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestBashCompletesCommandsAndFlags(t *testing.T) {
	bash := agenttest.Program(t, "bash")
	_, text, _ := program(t, "completion", "bash")
	for words, want := range map[string]string{"expl": "explain", "-sidecar": "-sidecar-for"} {
		script := text + "\nCOMP_WORDS=(connect-proxy " + words + "); COMP_CWORD=1; _connect_proxy; echo \"${COMPREPLY[@]}\""
		out, err := exec.CommandContext(t.Context(), bash, "-c", script).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s is completed to %q, %v; want %q", words, got, err, want)
		}
	}
}
