//go:build !linux

package main

import "fmt"

func main() {
	fmt.Println("SKIPPED: the deployed topology can't be tried out: there are network namespaces only on Linux")
}
