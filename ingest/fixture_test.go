package ingest_test

import (
	"bytes"
	"strconv"
)

func splitHeader(file []byte) (header, rows []byte) {
	i := bytes.IndexByte(file, '\n') + 1
	return file[:i], file[i:]
}

// repeatedHouseholds repeats the rows many times over, each time with other household ids.
func repeatedHouseholds(header, rows []byte, copies int) []byte {
	lines := bytes.SplitAfter(bytes.TrimSuffix(rows, []byte("\n")), []byte("\n"))
	var out bytes.Buffer
	out.Write(header)
	for i := range copies {
		for _, line := range lines {
			id, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(","))
			out.WriteString(strconv.Itoa(i) + "-")
			out.Write(id)
			out.WriteByte(',')
			out.Write(rest)
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}
