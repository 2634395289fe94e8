package main

import (
	"bufio"
	"io"
)

func (c console) readSecret() (string, error) {
	return bufio.NewReader(io.LimitReader(c.in, 1<<10)).ReadString('\n')
}
