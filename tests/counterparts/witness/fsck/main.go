// Command fsck reads a whole log (C2SP tlog-tiles) with the package of that name of Tessera, transparency-dev's log library, and with its client: every entry
// bundle and every tile, compared with what the signed checkpoint leads to. It knows none of our code. Tessera's own command of the name says what it found and
// ends as if nothing were; this one ends with exit code 1 and the reason on standard error.
//
//	fsck KEY URL      the log at URL is whole, and signed by KEY; its size to standard output
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
)

// One that has found something ends, and with the last one Check would wait for ever: more than a small log has tiles that one change makes wrong.
const workers = 8

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 2 {
		return errors.New("usage: fsck KEY URL")
	}
	key, err := formats.NewVerifier(arguments[0])
	if err != nil {
		return fmt.Errorf("the log's key: %w", err)
	}
	root, err := url.Parse(arguments[1])
	if err != nil {
		return err
	}
	fetcher, err := client.NewHTTPFetcher(root, nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := fsck.New(key.Name(), key, fetcher, leaves, fsck.Opts{N: workers}).Check(ctx); err != nil {
		return fmt.Errorf("fsck: %w", err)
	}
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, key, key.Name())
	if err != nil {
		return err
	}
	fmt.Println(checkpoint.Size)
	return nil
}

// leaves are the hashes of a bundle's entries.
func leaves(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(entries.Entries))
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}
