// Writes the archives of this folder that Go's archive/tar writes, which is kubectl's: `go run write.go`.
package main

import (
	"archive/tar"
	"os"
	"strings"
	"time"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func write(name string, format tar.Format) {
	file, err := os.Create("go_" + name + ".tar")
	check(err)
	archive := tar.NewWriter(file)
	add := func(name string, kind byte, content, link string) {
		check(archive.WriteHeader(&tar.Header{
			Name: name, Typeflag: kind, Linkname: link, Size: int64(len(content)), Mode: 0o644,
			ModTime: time.Unix(1700000000, 0), Uid: 1000, Gid: 1000, Uname: "me", Gname: "me", Format: format,
		}))
		_, err := archive.Write([]byte(content))
		check(err)
	}
	long := strings.Repeat("n", 180)
	add("dir/", tar.TypeDir, "", "")
	add("dir/plain.txt", tar.TypeReg, "hello\n", "")
	add("empty", tar.TypeReg, "", "")
	if format != tar.FormatUSTAR {
		add("d\u00e9j\u00e0.txt", tar.TypeReg, "vu", "")
	}
	add("link", tar.TypeSymlink, "", "dir/plain.txt")
	add("hard", tar.TypeLink, "", "dir/plain.txt")
	add("pipe", tar.TypeFifo, "", "")
	add("device", tar.TypeChar, "", "")
	if format != tar.FormatUSTAR {
		add("d/"+long, tar.TypeReg, "long", "")
		add("far", tar.TypeSymlink, "", long)
	}
	check(archive.Close())
	check(file.Close())
}

func main() {
	write("ustar", tar.FormatUSTAR)
	write("gnu", tar.FormatGNU)
	write("pax", tar.FormatPAX)
}
