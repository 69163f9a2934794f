package secure

import (
	"fmt"
	"testing"
)

// benchSizes are a small message, a record's worth, and a batch of a bulk
// transfer.
var benchSizes = []int{64, 16 << 10, 256 << 10}

// benchRecords are the two ends of a connection: what the first seals, the
// second opens. The suite is the one that crypto/tls prefers on this machine.
func benchRecords(b *testing.B) (from, to *Records) {
	b.Helper()
	return &Records{out: aes128(), in: aes128()}, &Records{out: aes128(), in: aes128()}
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			from, _ := benchRecords(b)
			content := make([]byte, size)
			room := make([]byte, 0, Sealed(size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				from.Seal(room, content)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			from, to := benchRecords(b)
			sealed := from.Seal(make([]byte, 0, Sealed(size)), make([]byte, size))
			room := make([]byte, 0, Sealed(size))
			start := to.in.Cipher
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				to.in.Cipher = start // so that the same records open again
				content, used, err := to.Open(room, sealed)
				if err != nil || len(content) != size || used != len(sealed) {
					b.Fatal(len(content), used, err)
				}
			}
		})
	}
}
