// Command demo is `make demo`: a mesh of two services from nothing but Go.
//
// It builds connect-proxy and a Consul 1.5.3 agent, has the agent launch the
// proxies of the services web and api, sends HTTP requests from one to the
// other, shows who each side proved to be, denies the one to the other and
// allows it again. Everything runs on free ports of 127.0.0.1 and in one
// temporary directory, and is gone when the command ends, however it ends.
//
// Each step of the story is a method of mesh. run owns every process and server
// that is started and waits for each.
package main
