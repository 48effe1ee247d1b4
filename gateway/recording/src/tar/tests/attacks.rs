//! Archives in which programs would find other files than the recording says.

use super::*;

/// Somebody uploads an archive of which the recording would list other files than those that arrive. What GNU tar 1.34, Go 1.25 and Python
/// 3.11 make of each was seen, what busybox makes of it stands in its `get_header_tar.c`.
#[test]
fn an_archive_that_programs_read_differently_is_kept_whole() {
    let shell = b"#!/bin/sh\nevil\n";
    // Headers within content, which show where somebody takes it for none.
    let within = [file("bin/sh", shell), vec![0; BLOCK]].concat();
    let with = |kind: u8, name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut block = header(name, kind, within.len() as u64);
        edit(&mut block);
        [seal(block), within.clone()].concat()
    };
    let as_it_is = |_: &mut Vec<u8>| {};
    let put =
        |at: usize, bytes: &'static [u8]| move |block: &mut Vec<u8>| block[at..at + bytes.len()].copy_from_slice(bytes);
    let no_size = |block: &mut Vec<u8>| block[124..136].copy_from_slice(b"00000000000\0");
    let (unnamed, slashed) = ("a header without a name", "a file whose name ends as a folder's does");
    let (prefix, target) = (
        "a name's beginning that not every format has",
        "a link's target in what is no link",
    );
    let (size, mode) = (
        "a tar header whose size is no number",
        "a tar header whose mode is no number",
    );
    let unknown = "a type of entry that not all programs know";
    let mut attacks = vec![
        // busybox: a block of zeros; it goes on with the content.
        (with(b'0', "", &as_it_is), unnamed),
        (with(b'5', "", &no_size), unnamed),
        ([with(b'x', "", &no_size), file("a", b"")].concat(), unnamed),
        ([with(b'L', "", &no_size), file("a", b"")].concat(), unnamed),
        // busybox: a folder, which has no content.
        (with(b'0', "a/", &as_it_is), slashed),
        (with(0, "a/", &as_it_is), slashed),
        (with(b'7', "a/", &as_it_is), slashed),
        (with(b'0', "a/", &no_size), slashed),
        (
            [extended(b'x', &pax("path", "a/")), with(0, "a", &no_size)].concat(),
            slashed,
        ),
        (
            [extended(b'x', &pax("path", "a")), with(0, "a/", &no_size)].concat(),
            slashed,
        ),
        // busybox and Python take it for a name's beginning, GNU tar and Go do not.
        (
            with(b'0', "a", &|block| {
                put(257, b"ustar  \0")(block);
                put(345, b"etc")(block)
            }),
            prefix,
        ),
        (
            with(b'0', "a", &|block| {
                put(257, &[0; 8])(block);
                put(345, b"etc")(block)
            }),
            prefix,
        ),
        // Go reads 131 bytes of it.
        (
            with(b'0', "a", &|block| {
                put(345, &[b'p'; 132])(block);
                put(508, b"tar\0")(block)
            }),
            prefix,
        ),
        // bsdtar and busybox: ustar; GNU tar and Go: of old.
        (with(b'0', "a", &put(257, b"ustarX00")), "a header of an unknown format"),
        // GNU tar and Go read on behind a zero, busybox and Python do not.
        (with(b'0', "a", &put(124, b"\x0000000002000")), size),
        (with(b'0', "a", &put(124, b"1000 2000000")), size),
        (with(b'0', "a", &put(124, b"\t0000002000\0")), size),
        (with(b'0', "a", &put(124, b"           \0")), size),
        (with(b'0', "a", &put(100, b"\x000004755")), mode),
        // busybox: a hard link.
        (
            with(b'0', "a", &|block| {
                no_size(block);
                put(157, b"/etc/shadow")(block)
            }),
            target,
        ),
        (
            [extended(b'K', b"/etc/shadow\0"), with(b'0', "a", &no_size)].concat(),
            target,
        ),
        (
            [
                extended(b'x', &pax("linkpath", "/etc/shadow")),
                with(b'0', "a", &no_size),
            ]
            .concat(),
            target,
        ),
        // bsdtar: content behind a link of pax.
        (with(b'1', "a", &put(157, b"b")), "a size where no content belongs"),
        // GNU tar passes over the blanks, and over what is behind a zero.
        (extended(b'x', &pax(" path", "bin/sh")), "a pax key that cannot be read"),
        (extended(b'x', &pax("\tsize", "0")), "a pax key that cannot be read"),
        (
            extended(b'x', &pax("path\0", "bin/sh")),
            "a pax key that cannot be read",
        ),
        (extended(b'x', &pax("", "bin/sh")), "a pax key that cannot be read"),
        (
            extended(b'x', &pax("path", "bin/sh\0.txt")),
            "a pax name with a zero in it",
        ),
        (
            extended(b'x', &pax("linkpath", "bin/sh\0.txt")),
            "a pax name with a zero in it",
        ),
        // Go reads the header's own name.
        (extended(b'L', b"\0"), "a long name that is empty"),
        (extended(b'K', b""), "a long name that is empty"),
    ];
    for key in [
        "GNU.sparse.major",
        "GNU.sparse.name",
        "GNU.sparse.map",
        "SCHILY.realsize",
    ] {
        attacks.push((extended(b'x', &pax(key, "1")), "a sparse file"));
    }
    for kind in b"VMNDSAIXZ8 \xff" {
        attacks.push((with(*kind, "a", &as_it_is), unknown));
    }
    // Old GNU tar: that more of the map follows.
    attacks.push((
        with(b'S', "a", &|block| {
            put(257, b"ustar  \0")(block);
            put(482, b"\x01")(block)
        }),
        unknown,
    ));
    for (number, (attack, reason)) in attacks.into_iter().enumerate() {
        let bytes = [attack, file("behind", b"1"), vec![0; 2 * BLOCK]].concat();
        assert_eq!(why(&bytes), reason, "attack {number}");
        assert_eq!(
            read_all(&bytes.chunks(99).collect::<Vec<_>>()),
            (vec![], bytes),
            "attack {number}"
        );
    }
}

/// As GNU tar writes one whose hundredth byte is a slash; of the header's own name nobody reads anything then. Behind a name of pax some do.
#[test]
fn a_long_name_that_is_cut_behind_a_folder_is_a_files() {
    let long = format!("{}f", "abc/".repeat(50));
    let cut = [header(&long, b'0', 3), padded(b"abc")].concat();
    let (entries, kept) = read_all(&[&archive(&[extended(b'L', format!("{long}\0").as_bytes()), cut.clone()])]);
    assert!(kept.is_empty());
    assert_eq!(
        (entries[0].kind, entries[0].name.as_slice(), entries[0].sha256),
        (b'0', long.as_bytes(), hash(b"abc"))
    );
    let of_pax = [extended(b'x', &pax("path", &long)), cut].concat();
    assert_eq!(why(&of_pax), "a file whose name ends as a folder's does");
}

/// bsdtar looks for what is compressed before it looks for an archive.
#[test]
fn an_archive_that_may_be_something_else_for_bsdtar_is_kept_whole() {
    let reason = "an archive that begins as something else does, too";
    for begun in [
        &b"\x1f\x8b\x08\x04"[..],
        b"\x1f\x9d\x90",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0",
        b"\x5d\0\0\x80\0",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"\x02\x21\x4c\x18",
        b"LZIP\x01",
        b"LRZI\0\x06",
        b"GRZipII\0\x02\x04:)",
        b"\x89LZO\0\x0d\x0a",
        b"begin 644 a",
        b"begin-base64 644 a",
        b"\xed\xab\xee\xdb",
        b"MSCF\0\0",
        b"!<arch>\n",
    ] {
        let mut block = header("", b'0', 1);
        block[..begun.len()].copy_from_slice(begun);
        let bytes = archive(&[seal(block), padded(b"1")]);
        assert_eq!(why(&bytes), reason, "{begun:?}");
        assert_eq!(read_all(&[&bytes]), (vec![], bytes.clone()), "{begun:?}");
        // Only an archive's beginning is looked at.
        let (entries, kept) = read_all(&[&file("a", b"1"), &bytes]);
        assert_eq!((entries.len(), kept.len()), (2, 0), "{begun:?}");
    }
}

/// As GNU tar, Go and Python write a file of more than 8 GiB. busybox takes its content for headers.
#[test]
fn a_size_that_only_pax_can_say_hides_no_headers() {
    let large = [extended(b'x', &pax("size", "8589934592")), header("image", b'0', 0)].concat();
    let mut old = header("old", b'0', 0);
    old[257..265].fill(0);
    let old = seal(old);
    let mut lenient = header("lenient", b'0', 0);
    lenient[156] = 0;
    let sum = sum_of(&lenient);
    lenient[148..156].copy_from_slice(format!("\t+{sum:06o}").as_bytes());
    let mut unnamed = vec![0; BLOCK];
    unnamed[200] = 1;
    let (zeros, inner) = (vec![0; BLOCK], header("bin/sh", b'0', 0));
    for hidden in [
        inner.clone(),
        old,
        lenient,
        [zeros.clone(), inner.clone()].concat(),
        [unnamed.clone(), inner.clone()].concat(),
    ] {
        let bytes = [large.clone(), hidden.clone(), b"more".to_vec()].concat();
        assert_eq!(why(&bytes), "a header in content whose size only pax says");
        for cut in [1, 511, 5000] {
            let (entries, kept) = read_all(&bytes.chunks(cut).collect::<Vec<_>>());
            let seen = usize::try_from(entries[0].seen).unwrap();
            let behind = [hidden.as_slice(), b"more"].concat();
            assert_eq!(
                (entries.len(), kept.as_slice()),
                (1, &behind[seen..]),
                "pieces of {cut}"
            );
            assert_eq!(entries[0].sha256, hash(&behind[..seen]));
        }
    }
    let mut wrong = inner.clone();
    wrong[0] ^= 1;
    for harmless in [
        wrong,
        b"plain".repeat(300),
        b"short".to_vec(),
        [zeros.clone(), zeros, inner.clone()].concat(),
        [unnamed, b"plain".repeat(300), inner].concat(),
    ] {
        let bytes = [large.clone(), harmless.clone()].concat();
        for cut in [1, 511, 5000] {
            let (entries, kept) = read_all(&bytes.chunks(cut).collect::<Vec<_>>());
            assert!(kept.is_empty());
            assert_eq!((entries[0].size, entries[0].seen), (1 << 33, harmless.len() as u64));
            assert_eq!(entries[0].sha256, hash(&harmless), "pieces of {cut}");
        }
    }
}
