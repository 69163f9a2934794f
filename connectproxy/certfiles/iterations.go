package certfiles

import (
	"encoding/asn1"
	"fmt"
	"math"
	"math/big"
)

const (
	// maxIterations is how often a key may be derived from the password of a PKCS#12
	// file, for each of its parts. Programs write some thousands, and those who follow
	// advice for passwords a million; a hundred million hold a proxy for minutes, which
	// nothing can end.
	maxIterations = 2_000_000
	// maxDepth is how deep a PKCS#12 file may be nested to be looked into.
	maxDepth = 32
)

// checkIterations refuses a PKCS#12 file before anything is derived for it. It does
// not see what is in an encrypted part, where programs put certificates alone.
func checkIterations(file string, der []byte) error {
	if n := mostIterations(der, false, maxDepth); n > maxIterations {
		return fmt.Errorf("%s asks for %d iterations to derive a key from its password, and %d are the most: "+
			"write it anew, as with openssl pkcs12 -export -iter 600000", file, n, maxIterations)
	}
	return nil
}

// mostIterations is the largest number of iterations that stands in an encoding. All
// parameters that say one have it right behind the salt, which are an INTEGER and an
// OCTET STRING (RFC 7292 4 and B.3, RFC 8018 A.2). An OCTET STRING has an encoding
// in it where it is content, which is explicitly tagged with 0.
func mostIterations(der []byte, content bool, depth int) (most int64) {
	for salt := false; len(der) > 0 && depth > 0; {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return most // nor is it PKCS#12 then
		}
		der = rest
		universal := v.Class == asn1.ClassUniversal
		switch {
		case universal && v.Tag == asn1.TagInteger && salt:
			most = max(most, clamped(v.Bytes))
		case v.IsCompound:
			explicit := v.Class == asn1.ClassContextSpecific && v.Tag == 0
			most = max(most, mostIterations(v.Bytes, explicit, depth-1))
		case universal && v.Tag == asn1.TagOctetString && content:
			most = max(most, mostIterations(v.Bytes, false, depth-1))
		}
		salt = universal && v.Tag == asn1.TagOctetString
	}
	return most
}

// clamped is a number that is not negative, or the largest there is.
func clamped(b []byte) int64 {
	if n := new(big.Int).SetBytes(b); n.IsInt64() {
		return n.Int64()
	}
	return math.MaxInt64
}
