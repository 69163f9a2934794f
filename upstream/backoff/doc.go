// Package backoff gives the waits between attempts that fail. It starts nothing
// and waits for nothing but what Sleep is asked to.
package backoff
