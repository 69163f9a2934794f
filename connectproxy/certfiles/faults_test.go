package certfiles

import (
	"errors"
	"testing"
)

func TestAFaultOfOneFileForTwoPurposesIsSaidOnce(t *testing.T) {
	missing := errors.New("tls.pem does not exist: check its name")
	if got := (faults{missing, errors.New("ca.pem is empty"), missing}).Error(); got != "tls.pem does not exist: check its name; ca.pem is empty" {
		t.Errorf("%q", got)
	}
}
