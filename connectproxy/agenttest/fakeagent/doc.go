// Package fakeagent is the agent of connectproxy/devagent for tests that need
// no real one, with what a real agent cannot be made to do: errors, rubbish and
// silence in place of answers (package traffic), certificates that have expired,
// are not valid yet or are another mesh's, and answers written by the test.
//
// What it says otherwise is devagent's, which one table of requests holds to
// real agents. A promise of the program rests on the tests with real agents;
// this one makes the rare case easy to bring about.
//
// An Agent is safe for any goroutine. Its server and every request it holds end
// with the test. With Options.InMemory there is no server: a request is answered
// on the goroutine that asks, so that the clock of a synctest bubble goes on
// while a question is open.
package fakeagent
