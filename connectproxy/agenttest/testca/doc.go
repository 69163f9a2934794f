// Package testca issues certificates of any kind for tests of what they have to
// prove, good ones and those of strangers, and writes them to files. It starts
// nothing.
package testca
