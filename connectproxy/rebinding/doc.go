// Package rebinding tells requests of HTTP that the web page of a stranger may have
// made a browser send: under a name of that stranger's, which was led to this
// machine after the page was loaded (DNS rebinding). To the browser such a name is
// the page's own site, so that the page may read the answers, and the browser does
// not say whose page asks.
//
// A request under a name that no stranger can have is not one of these: localhost, an
// IP address, and the names that a server was given. Programs call servers that
// other machines reach by whatever name those have there, and are told from
// browsers by what every browser sends.
//
// It also tells requests of browsers that do not say whose page asks, since they do so
// only to addresses that they trust. Those may be of any site's page, under every name.
package rebinding
