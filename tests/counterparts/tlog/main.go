// Command tlog reads what a gateway's ledger proves with public libraries alone: golang.org/x/mod/sumdb and
// transparency-dev. It knows none of our code and nothing of our records. Exit code 1 with the reason on standard error
// when something does not hold.
//
//	tlog receipt KEY [WITNESS…]      a receipt (C2SP tlog-proof) on standard input; its record to standard output
//	tlog tree KEY URL CHECKPOINT [WITNESS…]
//	                                 the log at URL (C2SP tlog-tiles) is signed and cosigned by all these witnesses, begins
//	                                 with the tree that was signed as CHECKPOINT, and its entries are its leaves; the
//	                                 number of entries to standard output. TOKEN in the environment is sent as a bearer
//	                                 token.
package main

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	formats "github.com/transparency-dev/formats/log"
	cosigned "github.com/transparency-dev/formats/note"
	tlogproof "github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) >= 2 && arguments[0] == "receipt":
		return receipt(arguments[1], arguments[2:])
	case len(arguments) >= 4 && arguments[0] == "tree":
		return tree(arguments[1], arguments[2], arguments[3], arguments[4:])
	}
	return errors.New("usage: tlog receipt KEY [WITNESS…] | tlog tree KEY URL CHECKPOINT [WITNESS…]")
}

// signed opens a checkpoint twice, with the library of Go's checksum database and with that of transparency-dev.
func signed(text []byte, key string, witnesses []string) (*formats.Checkpoint, error) {
	log, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	if _, err := note.Open(text, note.VerifierList(log)); err != nil {
		return nil, fmt.Errorf("note.Open: %w", err)
	}
	var others []note.Verifier
	for _, witness := range witnesses {
		other, err := cosigned.NewVerifierForCosignatureV1(witness)
		if err != nil {
			return nil, fmt.Errorf("a witness's key: %w", err)
		}
		others = append(others, other)
	}
	checkpoint, rest, opened, err := formats.ParseCheckpoint(text, log.Name(), log, others...)
	if err != nil {
		return nil, fmt.Errorf("ParseCheckpoint: %w", err)
	}
	if len(rest) > 0 || len(opened.Sigs) != 1+len(witnesses) {
		return nil, fmt.Errorf("%d signatures are by keys that were given, and %q follows", len(opened.Sigs), rest)
	}
	return checkpoint, nil
}

// recordOf is the record in the extra data: as it is, or as one zlib stream.
func recordOf(extra []byte) ([]byte, error) {
	if len(extra) == 0 {
		return nil, errors.New("no extra data")
	}
	if extra[0] == '{' {
		return extra, nil
	}
	reader, err := zlib.NewReader(bytes.NewReader(extra))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(reader, 1<<20))
}

func receipt(key string, witnesses []string) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var read tlogproof.TLogProof
	if err := read.Unmarshal(text); err != nil {
		return fmt.Errorf("TLogProof.Unmarshal: %w", err)
	}
	record, err := recordOf(read.ExtraData)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	var hashes [][]byte
	for _, hash := range read.Hashes {
		path, hashes = append(path, hash), append(hashes, hash[:])
	}
	checkpoint, err := signed(read.Checkpoint, key, witnesses)
	if err != nil {
		return err
	}
	root := tlog.Hash(checkpoint.Hash)
	if err := tlog.CheckRecord(path, int64(checkpoint.Size), root, int64(read.Index), tlog.RecordHash(record)); err != nil {
		return fmt.Errorf("tlog.CheckRecord: %w", err)
	}
	leaf := rfc6962.DefaultHasher.HashLeaf(record)
	err = proof.VerifyInclusion(rfc6962.DefaultHasher, read.Index, checkpoint.Size, leaf, hashes, checkpoint.Hash)
	if err != nil {
		return fmt.Errorf("proof.VerifyInclusion: %w", err)
	}
	_, err = os.Stdout.Write(append(record, '\n'))
	return err
}

// site is a log as C2SP tlog-tiles, for the tile reader of Go's checksum database.
type site struct {
	url string
}

func (site) Height() int { return 8 }

func (site) SaveTiles([]tlog.Tile, [][]byte) {}

func (s site) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// C2SP has one height and leaves it out of the path; entries are `entries`.
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		name = strings.Replace(name, "tile/data/", "tile/entries/", 1)
		bytes, err := s.get(name)
		if err != nil {
			return nil, err
		}
		all = append(all, bytes)
	}
	return all, nil
}

func (s site) get(name string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, s.url+"/"+name, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", name, answer.Status, body)
	}
	return body, err
}

func tree(key, url, remembered string, witnesses []string) error {
	text, err := os.ReadFile(remembered)
	if err != nil {
		return err
	}
	older, err := signed(text, key, nil)
	if err != nil {
		return fmt.Errorf("the older checkpoint: %w", err)
	}
	log := site{url}
	if text, err = log.get("checkpoint"); err != nil {
		return err
	}
	newest, err := signed(text, key, witnesses)
	if err != nil {
		return fmt.Errorf("the newest checkpoint: %w", err)
	}
	size, root := int64(newest.Size), tlog.Hash(newest.Hash)
	// The reader checks every tile against the root on its own.
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, log)
	consistency, err := tlog.ProveTree(size, int64(older.Size), hashes)
	if err != nil {
		return fmt.Errorf("tlog.ProveTree: %w", err)
	}
	if err := tlog.CheckTree(consistency, size, root, int64(older.Size), tlog.Hash(older.Hash)); err != nil {
		return fmt.Errorf("tlog.CheckTree: %w", err)
	}
	for from := int64(0); from < size; from += 256 {
		if err := entries(log, hashes, from, min(from+256, size)); err != nil {
			return err
		}
	}
	fmt.Println(size)
	return nil
}

// entries compares one bundle with the leaves of the tree.
func entries(log site, hashes tlog.HashReader, from, to int64) error {
	tile := tlog.Tile{H: 8, L: -1, N: from / 256, W: int(to - from)}
	bundles, err := log.ReadTiles([]tlog.Tile{tile})
	if err != nil {
		return err
	}
	indexes := make([]int64, 0, to-from)
	for index := from; index < to; index++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, index))
	}
	leaves, err := hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	rest := bundles[0]
	for number, leaf := range leaves {
		index := from + int64(number)
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return fmt.Errorf("the bundle ends within entry %d", index)
		}
		length := int(binary.BigEndian.Uint16(rest))
		if leaf != tlog.RecordHash(rest[2:2+length]) {
			return fmt.Errorf("entry %d is not the leaf", index)
		}
		rest = rest[2+length:]
	}
	if len(rest) > 0 {
		return errors.New("bytes behind the last entry of the bundle")
	}
	return nil
}
