package agenttest

import (
	"github.com/hashicorp/consul/api"
)

// PutToken makes a token whose one policy has these rules, and returns its
// secret.
func (a *Agent) PutToken(rules string) string {
	a.t.Helper()
	policy, _, err := a.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: "test-" + newUUID(), Rules: rules}, nil)
	if err != nil {
		a.t.Fatalf("making a policy: %v", err)
	}
	token, _, err := a.Client.ACL().TokenCreate(&api.ACLToken{
		Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}},
	}, nil)
	if err != nil {
		a.t.Fatalf("making a token: %v", err)
	}
	// A server answers for a new token at once, but may have remembered that
	// there is none.
	client := a.ClientWithToken(token.SecretID)
	Eventually(a.t, startWithin, func() error {
		_, _, err := client.ACL().TokenReadSelf(nil)
		return err
	})
	return token.SecretID
}

// DeleteToken deletes a token by its secret.
func (a *Agent) DeleteToken(secret string) {
	a.t.Helper()
	token, _, err := a.ClientWithToken(secret).ACL().TokenReadSelf(nil)
	if err == nil {
		_, err = a.Client.ACL().TokenDelete(token.AccessorID, nil)
	}
	if err != nil {
		a.t.Fatalf("deleting a token: %v", err)
	}
}
