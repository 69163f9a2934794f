// Package chromium drives a headless Chromium for tests of pages. A test starts
// one for itself; it ends with the test.
package chromium
