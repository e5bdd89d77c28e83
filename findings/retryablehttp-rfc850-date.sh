#!/usr/bin/env bash
# go-retryablehttp ignores a Retry-After date in the two older formats of HTTP.
#
# Surprising: "Sunday, 06-Nov-94 08:49:37 GMT" and "Sun Nov  6 08:49:37 1994" count as no Retry-After at
#   all, though Go's own http.ParseTime reads both.
# Matters: a receiver behind an old server asks for an hour's pause; the sender comes back after a second.
# Expected because: RFC 9110, section 5.6.7: a recipient that parses a timestamp in an HTTP field MUST
#   accept all three date formats; Retry-After is an HTTP-date.
set -euo pipefail
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

func main() {
	later := time.Now().UTC().Add(60 * time.Second)
	formats := []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC}
	fmt.Println("Software: go-retryablehttp 0.7.8 (Go)")
	fmt.Println("Expected: about a minute's pause for each of the three formats of RFC 9110")
	honoured := []bool{}
	for _, format := range formats {
		value := later.Format(format)
		if _, err := http.ParseTime(value); err != nil {
			panic(err)
		}
		answer := &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {value}}}
		pause := retryablehttp.DefaultBackoff(time.Second, 5*time.Minute, 0, answer)
		honoured = append(honoured, pause > 50*time.Second)
		fmt.Printf("Seen: %q: %v\n", value, pause.Round(time.Second))
	}
	if fmt.Sprint(honoured) != "[true false false]" {
		os.Exit(1)
	}
}
GO
go mod init example.com/finding 2>go.log
go get github.com/hashicorp/go-retryablehttp@v0.7.8 2>>go.log || { cat go.log; exit 1; }
go run .
