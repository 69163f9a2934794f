// Package report makes of a benchmark's figures what people read: medians and
// spreads, ratios, whether a target is reached, tables in Markdown, and plots
// as SVG. It runs nothing and is pure but for the writing of files.
package report
