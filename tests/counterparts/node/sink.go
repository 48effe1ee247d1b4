package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
)

// serveSink is a service for pods that answers only when the other side has closed its direction: how many bytes came,
// and their digest. Whoever loses half-closes on the way never gets the answer.
func serveSink(arguments []string) {
	flags := flag.NewFlagSet("sink", flag.ExitOnError)
	listen := flags.String("listen", ":8081", "address to listen on")
	_ = flags.Parse(arguments)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "sink:", err)
			os.Exit(1)
		}
		go func() {
			defer connection.Close()
			digest := sha256.New()
			if count, err := io.Copy(digest, connection); err == nil {
				fmt.Fprintf(connection, "%d bytes %x\n", count, digest.Sum(nil))
			}
		}()
	}
}
