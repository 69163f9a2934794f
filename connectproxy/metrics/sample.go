package metrics

// Sample is one number, for a receiver that metrics are sent to.
type Sample struct {
	// Name is dotted and goes with Tags. Full has the values of the tags in it, for
	// a receiver that knows no tags.
	Name, Full string
	Tags       []Tag
	// Gauge is set for a value that goes up and down. Every other is a counter,
	// which grows from zero since the proxy began.
	Gauge bool
	// Value is a count or a number of bytes, unless Name says another unit.
	Value float64
}
