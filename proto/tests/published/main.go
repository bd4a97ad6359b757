// Prints, in protobuf's wire format on standard output, the file descriptor
// that the published CSI Go module carries exactly as protoc wrote it.
// ../published.rs compares it with the descriptor of ../../csi.proto.
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "printing the published CSI descriptor:", err)
		os.Exit(1)
	}
}

func write(out io.Writer) error {
	// Every message answers with the whole compressed descriptor of its file.
	compressed, _ := (&csi.GetPluginInfoRequest{}).Descriptor()
	raw, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, raw)
	return err
}
