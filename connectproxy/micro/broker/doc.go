// Package broker passes events of Micro applications to those who have subscribed
// to their topics: websockets at this proxy, and services in the mesh.
//
// # Who gets an event
//
// An event that is published here goes to each application that has subscribed here
// with a websocket (of those that name the same queue, to one), and to every service
// that subscribes to its topic. Of a service, one instance gets the event, chosen by
// the balance of connections. An event that another proxy has brought goes to
// websockets only, so that events cannot go in circles. If a websocket here gets the
// event, it takes the place of the proxy's own service.
//
// Services are found in the catalog by the tags of their instances: the tags that
// Micro's own registry writes for subscribers, and, for other applications, TagPrefix
// followed by a topic.
//
// # At most once
//
// An event is sent once and is not stored for later subscribers. Each subscriber has
// a queue in memory, in the order of publishing. An event that does not fit into the
// queue is lost to that subscriber alone. Events are also lost if they have waited for
// longer than MaxWait, or if the service that they wait for cannot be reached or does
// not answer.
//
// # Limits
//
// A topic exists while somebody subscribes to it, so publishing to many topics uses
// no memory. The limits are the constants of this package. A subscriber that reads
// nothing keeps its queue for MaxWait at most, since older events are dropped. When
// all memory for events is in use, publishers are refused.
//
// # Goroutines
//
// A Broker has one goroutine for each service that events are waiting for. They end
// with Run, which waits for them.
package broker
