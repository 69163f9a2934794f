// Package pebble runs Pebble, Let's Encrypt's ACME server for tests, on loopback. It
// is built from the module testdata/pebble once and kept in the user's cache
// directory. Every name leads to this machine for it.
package pebble
