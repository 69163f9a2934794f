// Package answer reads what a Consul agent answers as it comes. consul/api decodes
// every answer with encoding/json and as a whole, which for a service of thousands
// of instances, or a registration of a thousand upstreams, takes tens of
// milliseconds each time, also where nothing has changed.
//
// A question whose context is one of With has the body of its answer given to a
// function by Transport, from the connection, while consul/api still makes the
// request and reads its headers. A client without Transport in its way decodes as
// ever: whoever asks sees from Taken.Done which of the two has happened.
//
// Query and Each are what such functions are made of: an answer's bytes, to be
// compared with those of the last one, and the elements of an answer that is an
// array.
package answer
