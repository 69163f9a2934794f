// Package fileowner tells whose a file is: in what another user owns, this user's keys
// and sockets are not safe, whatever its mode.
package fileowner
