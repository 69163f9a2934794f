// Package events is what has lately happened to a proxy, for its admin pages: a
// bounded history of the lines that its log gets, or would get if they were not
// too many for a person to follow.
//
// A History is a sink of the logger. It keeps the last of each Kind, so that
// what strangers can cause at will pushes out nothing but its like. It starts no
// goroutine and never blocks.
package events
