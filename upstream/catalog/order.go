package catalog

import "slices"

// sameFirst is how often in a row an answer must begin with the same node to be
// taken for sorted: chance does so less than once in 250 times with two nodes.
const sameFirst = 8

// order reports whether a prepared query sorts its answers by nearness.
type order struct {
	defined bool
	near    string // the definition's, if defined

	answers int    // that there have been
	first   string // node that the last answer began with
	same    int    // answers in a row after it that did so too
}

// undecided says that there have been too few answers to tell.
func (o *order) undecided() bool {
	return (!o.defined || o.near == "_ip") && o.answers <= sameFirst
}

// define takes the setting from the query's definition.
func (o *order) define(near string) { o.defined, o.near = true, near }

// forget falls back on what the answers look like.
func (o *order) forget() { o.defined = false }

// sorted takes an answer's nodes in. Agents shuffle an answer that they do not
// sort, so one that keeps its first node is sorted. "_ip" sorts only where the
// agent finds the asker among its nodes, which no definition can tell.
func (o *order) sorted(nodes []string) bool {
	o.answers++
	if len(nodes) > 0 && slices.ContainsFunc(nodes, func(n string) bool { return n != nodes[0] }) {
		if nodes[0] == o.first {
			o.same++
		} else {
			o.first, o.same = nodes[0], 0
		}
	}
	if o.defined && o.near != "_ip" {
		return o.near != ""
	}
	return o.same >= sameFirst
}
