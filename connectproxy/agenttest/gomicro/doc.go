// Package gomicro runs servers and clients of Go Micro for tests: real ones, of
// several releases, and of gRPC without it. Each is a program of a module of its
// own below testdata/micro, which is built once and kept in the user's cache
// directory.
package gomicro
