package events

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
)

// Kind says what an event is about.
type Kind string

// The kinds of events.
const (
	// Refusal is a connection that was refused, or cut because its peer is no
	// longer allowed.
	Refusal Kind = "refusal"
	// Instance is an instance of a destination that was set aside or works
	// again, or a destination's set of them.
	Instance Kind = "instance"
	// Certificate is leaf, roots, or TLS as the mesh has it.
	Certificate Kind = "certificate"
	// Intention is a decision about a caller that turned.
	Intention Kind = "intention"
	// Configuration is what took effect, and what could not.
	Configuration Kind = "configuration"
	// Agent is the way to the local agent.
	Agent Kind = "agent"
	// Listener is a socket of the proxy.
	Listener Kind = "listener"
	// Proxy is the life of the proxy itself.
	Proxy Kind = "proxy"
)

// Kinds lists every Kind.
func Kinds() []Kind {
	return []Kind{Refusal, Instance, Certificate, Intention, Configuration, Agent, Listener, Proxy}
}

// kinds are those of the lines by their message. A message that is not here is
// about the proxy.
var kinds = map[string]Kind{
	"connection refused":                           Refusal,
	"connection closed":                            Refusal, // of those kept: see wanted
	"connections were not logged one by one":       Refusal,
	"unfinished handshakes gave way to newer ones": Refusal,

	"instance set aside":       Instance,
	"instance works again":     Instance,
	"instances found":          Instance,
	"no healthy instance":      Instance,
	"leaving out instances":    Instance,
	"failing over":             Instance,
	"failing back":             Instance,
	"discovery chain in force": Instance,

	"certificates in force":                                     Certificate,
	"certificates cannot be used by this clock":                 Certificate,
	"TLS as the mesh configuration entry has it":                Certificate,
	"TLS as the mesh configuration entry has it cannot be done": Certificate,

	"authorization changed": Intention,

	"in force":                            Configuration,
	"upstream in force":                   Configuration,
	"setting is not honoured":             Configuration,
	"setting that guards is not honoured": Configuration,
	"configuration refused; the last good one stays in force": Configuration,
	"configuration is valid again":                            Configuration,
	"cannot open upstream":                                    Configuration,
	"log level changed":                                       Configuration,

	"agent does not answer":                                                    Agent,
	"agent answers again":                                                      Agent,
	"agent cannot be asked who may call":                                       Agent,
	"agent can be asked again who may call":                                    Agent,
	"the agent is out of reach for new connections":                            Agent,
	"the agent will be out of reach for new connections":                       Agent,
	"TLS files for the agent are as they were again":                           Agent,
	"TLS files for the agent read anew":                                        Agent,
	"TLS files for the agent cannot be used; the last good ones stay in force": Agent,
	"token file read anew":                                                     Agent,
	"token file is of no use, keeping the last token":                          Agent,
	"registered with the agent":                                                Agent,
	"deregistered from the agent":                                              Agent,
	"cannot register with the agent":                                           Agent,
	"proxy stays registered":                                                   Agent,

	"serving":                        Listener,
	"serving ended; listening again": Listener,
	"cannot listen":                  Listener,
	"cannot listen; the proxy goes on without": Listener,
	"listening at last":                        Listener,
	"listener closed":                          Listener,
	"accepting connections again":              Listener,
	"cannot accept connections":                Listener,
	"cannot change the mode of the socket":     Listener,
}

// Event is one line of the log.
type Event struct {
	// ID counts the events of a process from 1, so that a reader can tell what
	// is new to it.
	ID uint64 `json:"id"`
	// Time is when it was logged.
	Time time.Time `json:"time"`
	// Kind is what it is about.
	Kind Kind `json:"kind"`
	// Level is info, warn or error.
	Level string `json:"level"`
	// Message is the line's, without its fields.
	Message string `json:"message"`
	// Fields are the line's, each value as text. They hold what others said of
	// themselves, such as a peer's name, without control characters.
	Fields map[string]string `json:"fields,omitempty"`
}

// Most that is kept of one event.
const (
	maxFields = 24
	maxText   = 600
)

// fields puts the keys and values of a line into text.
func fields(args []any) map[string]string {
	if len(args) < 2 {
		return nil
	}
	out := make(map[string]string, min(len(args)/2, maxFields))
	for i := 0; i+1 < len(args) && len(out) < maxFields; i += 2 {
		key, ok := args[i].(string)
		if !ok {
			continue
		}
		out[clean(key)] = clean(text(args[i+1]))
	}
	return out
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []string:
		return strings.Join(v, "; ")
	case hclog.Format:
		if format, ok := v[0].(string); ok { // hclog.Fmt puts it there
			return fmt.Sprintf(format, v[1:]...)
		}
	}
	return fmt.Sprint(v)
}

// clean bounds a text and takes out what could act on a terminal. What it returns
// keeps nothing of what s is a part of.
func clean(s string) string {
	if len(s) > maxText {
		cut := maxText
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Clone(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s))
}
