package agent

import (
	"fmt"
	"net/http"
)

// redirected is an agent that sends us elsewhere.
type redirected struct{ to string }

func (r *redirected) Error() string {
	return fmt.Sprintf("it sends us on to %s, which is not followed since the ACL token would go along", r.to)
}

// Advice is what to do, for messages that would guess otherwise.
func (*redirected) Advice() string {
	return "let -http-addr name the agent itself, with the right scheme and path"
}

// refuseRedirect follows none: an agent's API has no reason for it, and the
// transport would put the token on the next request too, whoever gets it.
func refuseRedirect(r *http.Request, _ []*http.Request) error {
	return &redirected{to: r.URL.Scheme + "://" + r.URL.Host}
}
