// Package repo has no code: its tests hold the rules of this repository. Which package may import which, that
// everything exported says what it promises, that files stay readable, that what the documents name is there.
package repo
