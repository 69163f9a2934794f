// Package regularfile reads files that users name: configurations, tokens,
// certificates and keys. It never blocks and never reads without a limit, whatever the
// name refers to. Opening a named pipe would otherwise block until somebody writes to
// it, which no context and no signal could interrupt; and the content of a pipe or a
// device cannot be read again when the file is checked for changes.
package regularfile
