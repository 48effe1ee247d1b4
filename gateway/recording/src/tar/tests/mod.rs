//! Archives made here, header by header, and archives of the machine's own tar.

mod attacks;

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;

use super::*;

fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
    block[100..108].copy_from_slice(b"0000640\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(block)
}

/// Sets the checksum.
fn seal(mut block: Vec<u8>) -> Vec<u8> {
    let sum = sum_of(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn sum_of(block: &[u8]) -> u32 {
    let bytes = block.iter().enumerate();
    let counted = bytes.map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    counted.map(u32::from).sum()
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut out = content.to_vec();
    out.resize(content.len().next_multiple_of(BLOCK), 0);
    out
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    [header(name, b'0', content.len() as u64), padded(content)].concat()
}

fn extended(kind: u8, content: &[u8]) -> Vec<u8> {
    [header("ext", kind, content.len() as u64), padded(content)].concat()
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = parts.concat();
    out.extend([0; 2 * BLOCK]);
    out
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}").into_bytes()
}

fn hash(content: &[u8]) -> Option<[u8; 32]> {
    digest(&SHA256, content).as_ref().try_into().ok()
}

/// All entries and what was handed back; with them every byte is accounted for.
fn read_all(pieces: &[&[u8]]) -> (Vec<Entry>, Vec<u8>) {
    let (entries, kept, understood) = read_counted(pieces);
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    assert_eq!(understood + kept.len() as u64, length as u64);
    (entries, kept)
}

/// Why reading ended, reading the whole at once.
fn why(bytes: &[u8]) -> &'static str {
    TarReader::new().read(bytes, &mut |_| {}).unwrap_err().why
}

#[test]
fn names_sizes_modes_and_digests_of_files_are_read() {
    let bytes = archive(&[file("a/b.txt", b"hello"), header("a/", b'5', 0), file("empty", b"")]);
    let (entries, kept) = read_all(&[&bytes]);
    assert!(kept.is_empty());
    let names: Vec<_> = entries
        .iter()
        .map(|entry| (entry.kind, entry.size, entry.name.as_slice()))
        .collect();
    assert_eq!(
        names,
        [(b'0', 5, &b"a/b.txt"[..]), (b'5', 0, b"a/"), (b'0', 0, b"empty")]
    );
    assert_eq!(entries[0].mode, 0o640);
    assert_eq!(entries[0].sha256, hash(b"hello"));
    assert_eq!(entries[1].sha256, None);
    assert_eq!(entries[2].sha256, hash(b""));
}

#[test]
fn long_names_of_pax_and_of_gnu_tar_are_read() {
    let long = format!("{}f", "ab/".repeat(80));
    let records = [pax("path", &long), pax("mtime", "1.5"), pax("size", "3")].concat();
    let bytes = archive(&[
        extended(b'x', &records),
        header(&long, b'0', 3),
        padded(b"abc"),
        extended(b'L', format!("{long}gnu\0").as_bytes()),
        extended(b'K', b"where it points\0"),
        header(&long, b'2', 0),
        file("plain", b"x"),
    ]);
    let (entries, kept) = read_all(&[&bytes]);
    assert!(kept.is_empty());
    assert_eq!(entries[0].name, long.as_bytes());
    assert_eq!((entries[0].size, entries[0].sha256), (3, hash(b"abc")));
    assert_eq!(entries[1].name, format!("{long}gnu").as_bytes());
    assert_eq!(entries[1].link, b"where it points");
    assert_eq!(entries[2].name, b"plain", "an extended header is of one entry");
}

/// As git writes it, with the commit's id.
#[test]
fn a_global_header_that_says_nothing_of_entries_is_passed_over() {
    let bytes = archive(&[extended(b'g', &pax("comment", "5891b5b522d5df08")), file("a", b"1")]);
    let (entries, kept) = read_all(&[&bytes]);
    assert_eq!((entries.len(), kept.len()), (1, 0));
    assert_eq!(entries[0].name, b"a");
}

#[test]
fn a_ustar_prefix_stands_in_front_of_the_name() {
    let mut block = header("name", b'0', 0);
    block[345..351].copy_from_slice(b"prefix");
    let (entries, _) = read_all(&[&archive(&[seal(block)])]);
    assert_eq!(entries[0].name, b"prefix/name");
}

#[test]
fn sizes_above_eight_gibibytes_are_read() {
    let mut block = header("large", b'0', 0);
    block[124..136].fill(0);
    block[124] = 0x80;
    block[130] = 4; // 4 << 40
    let bytes = [seal(block), vec![7; 100]].concat();
    let (entries, kept) = read_all(&[&bytes]);
    assert_eq!((entries[0].size, entries[0].seen), (4 << 40, 100));
    assert!(kept.is_empty());
}

#[test]
fn content_has_a_digest_whatever_type_of_file_it_is_of() {
    for kind in b"0\x007" {
        let bytes = archive(&[header("a", *kind, 5), padded(b"hello"), header("b", *kind, 0)]);
        let (entries, kept) = read_all(&[&bytes]);
        assert!(kept.is_empty());
        let hashes: Vec<_> = entries.iter().map(|entry| entry.sha256).collect();
        assert_eq!(hashes, [hash(b"hello"), hash(b"")], "{}", char::from(*kind));
    }
}

/// As archives of the seventh edition tell one.
#[test]
fn a_folder_without_a_type_is_one() {
    let mut block = header("folder/", 0, 0);
    block[257..265].fill(0);
    let (entries, kept) = read_all(&[&archive(&[seal(block)])]);
    assert_eq!(entries[0].name, b"folder/");
    assert_eq!((entries[0].kind, entries[0].sha256, kept.len()), (b'5', None, 0));
}

#[test]
fn what_is_no_archive_is_handed_back_whole() {
    let bytes = vec![b'x'; 2000];
    assert_eq!(read_all(&[&bytes]), (vec![], bytes.clone()));
    let good = file("a", b"1");
    let (entries, kept) = read_all(&[&good[..700], &good[700..], &bytes[..9], &bytes[9..]]);
    assert_eq!(entries.len(), 1);
    assert_eq!(kept, bytes);
}

#[test]
fn what_two_programs_may_read_differently_ends_the_reading() {
    assert_eq!(why(&[b'x'; 512]), "no tar header: its checksum is no number");
    let mut wrong = header("a", b'0', 1);
    wrong[0] = b'b';
    assert_eq!(why(&wrong), "no tar header: its checksum is wrong");
    assert_eq!(why(&header("folder", b'5', 9)), "a size where no content belongs");
    let named = |kind| extended(kind, &pax("path", "b"));
    let twice = "two extended headers of a kind in front of one entry";
    let mixed = "extended headers of pax and of GNU tar in front of one entry";
    for (one, other, said) in [
        (b'x', b'x', twice),
        (b'L', b'L', twice),
        (b'x', b'L', mixed),
        (b'K', b'x', mixed),
        (b'x', b'g', "a global header between an extended one and its entry"),
        (b'L', b'g', "a global header between an extended one and its entry"),
    ] {
        assert_eq!(why(&[named(one), named(other), file("a", b"")].concat()), said);
    }
    for key in ["path", "linkpath", "size"] {
        let said_twice = [pax(key, "1"), pax(key, "2")].concat();
        assert_eq!(why(&extended(b'x', &said_twice)), "a pax key that comes twice");
    }
    assert_eq!(
        why(&extended(b'x', b"12 no equals\n")[..]),
        "a pax header that cannot be read"
    );
    assert_eq!(why(&extended(b'x', &pax("size", "-1"))), "a pax size that is no number");
    assert_eq!(
        why(&header("x", b'x', 65_537)),
        "an extended header of more than 64 KiB"
    );
    for (key, value) in [("path", "b"), ("linkpath", "b"), ("size", "1")] {
        let global = [extended(b'g', &pax(key, value)), file("a", b"1")].concat();
        assert_eq!(why(&global), "a global header that names or sizes entries", "{key}");
    }
    for key in ["path", "linkpath"] {
        assert_eq!(why(&extended(b'x', &pax(key, ""))), "a pax name that is empty", "{key}");
    }
    let size = |said: &str, own| [extended(b'x', &pax("size", said)), header("a", b'0', own)].concat();
    let other = "a pax size that is not its header's, which could say it";
    assert_eq!(why(&size("0", 512)), other);
    assert_eq!(why(&size("512", 0)), other);
    assert_eq!(why(&size("8589934591", 0)), other);
    assert_eq!(why(&size("8589934592", 512)), other);
    let lone = [vec![0; BLOCK], file("a", b"")].concat();
    assert_eq!(why(&lone), "one block of zeros between headers");
    let behind = [archive(&[]), b"more".to_vec()].concat();
    assert_eq!(why(&behind), "bytes behind the end of the archive");
    let mut padding = file("a", b"1");
    padding[1023] = b'!';
    assert_eq!(why(&padding), "bytes between a file and the next header");
}

/// As an attacker would hide something: in headers whose entry does not come, or that cannot be read.
#[test]
fn extended_headers_that_no_entry_consumes_are_handed_back_whole() {
    let long = "n".repeat(600);
    let read = file("a", b"1");
    let x = extended(b'x', &pax("comment", "hidden"));
    let of_gnu = [extended(b'K', long.as_bytes()), extended(b'L', long.as_bytes())].concat();
    let cut = extended(b'L', long.as_bytes());
    let mut padded_with_more = extended(b'L', b"n\0");
    padded_with_more[1023] = b'!';
    let size = [extended(b'x', &pax("size", "9")), header("folder", b'5', 0)].concat();
    for lost in [
        x.clone(),
        of_gnu.clone(),
        cut[..700].to_vec(),
        cut[..512].to_vec(),
        padded_with_more,
        size,
        [x.clone(), vec![0; 2 * BLOCK]].concat(),
        [of_gnu.clone(), vec![0; 2 * BLOCK]].concat(),
        [x.clone(), extended(b'x', b"12 no equals\n")].concat(),
        [of_gnu, header("x", b'x', 65_537)].concat(),
        [x, b"no archive".repeat(60)].concat(),
    ] {
        let bytes = [read.clone(), lost.clone()].concat();
        for cut in [1, 511, 5000] {
            let (entries, kept) = read_all(&bytes.chunks(cut).collect::<Vec<_>>());
            assert_eq!((entries.len(), &kept), (1, &lost), "cut into pieces of {cut}");
        }
    }
}

#[test]
fn what_extended_headers_say_besides_is_handed_over_with_their_entry() {
    let comment = pax("comment", "hidden");
    let odd = [
        comment.clone(),
        pax("SCHILY.xattr.user.x", "\0more"),
        pax("mtime", "not a time"),
        pax("uid", &"1".repeat(33)),
    ]
    .concat();
    let known = [
        pax("mtime", "-1.5"),
        pax("atime", "2"),
        pax("uid", "1000"),
        pax("path", "b"),
    ]
    .concat();
    let long = "n".repeat(MAX_NAME + 5);
    let bytes = archive(&[
        extended(b'g', &comment),
        extended(b'x', &[odd.clone(), known].concat()),
        file("b", b"1"),
        file("a", b"2"),
        extended(b'L', b"name\0behind\0"),
        file("name", b"3"),
        extended(b'K', long.as_bytes()),
        header("link", b'2', 0),
    ]);
    let (entries, kept) = read_all(&[&bytes]);
    assert!(kept.is_empty());
    let said: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_slice(), entry.unread.as_slice()))
        .collect();
    assert_eq!(
        said,
        [
            (&b"b"[..], [comment, odd].concat().as_slice()),
            (b"a", b""),
            (b"name", b"\0behind\0"),
            (b"link", b"nnnnn"),
        ]
    );
    assert_eq!(entries[3].link.len(), MAX_NAME);
}

/// Older releases and smaller builds of busybox read no names of pax, and none reads `linkpath`: they take the header's own, which is
/// told beside the other.
#[test]
fn a_header_with_another_name_than_the_extended_one_is_told_with_both() {
    let long = "n".repeat(200);
    let accents = format!("d\u{e9}j\u{e0}/{long}");
    let cut = |length: usize| "n".repeat(length);
    for (kind, said, own, unread) in [
        (b'x', "b", "bin/sh", "bin/sh"),
        (b'x', "bin/shadow", "bin/sh", "bin/sh"),
        (b'L', "b", "bin/sh", "bin/sh"),
        (b'x', "b", "b", ""),
        (b'x', &long, &cut(100), ""),
        (b'L', &long, &cut(99), ""),
        (b'L', &long, &cut(98), &cut(98)),
        (b'x', "d\u{e9}j\u{e0}", "d\u{e9}j\u{e0}", ""),
        (b'x', "d\u{e9}j\u{e0}", "dj", ""),
        (b'x', "d\u{e9}j\u{e0}", "d?j?", ""),
        (b'x', &accents, &format!("dj/{}", cut(97)), ""),
        (b'x', &accents, &format!("d?j?/{}", cut(95)), ""),
    ] {
        for is_link in [false, true] {
            let (key, kind) = match (kind, is_link) {
                (b'L', true) => ("", b'K'),
                (_, true) => ("linkpath", kind),
                (_, false) => ("path", kind),
            };
            let records = if kind == b'x' {
                pax(key, said)
            } else {
                said.as_bytes().to_vec()
            };
            let mut block = header(if is_link { "a" } else { own }, if is_link { b'2' } else { b'0' }, 0);
            if is_link {
                block[157..157 + own.len()].copy_from_slice(own.as_bytes());
            }
            let (entries, kept) = read_all(&[&archive(&[extended(kind, &records), seal(block)])]);
            assert!(kept.is_empty());
            let told = if is_link { &entries[0].link } else { &entries[0].name };
            assert_eq!(
                (told.as_slice(), entries[0].unread.as_slice()),
                (said.as_bytes(), unread.as_bytes())
            );
        }
    }
}

#[test]
fn a_stream_that_breaks_off_tells_what_came_of_the_file() {
    let bytes = file("a", &[5; 3000]);
    let (entries, kept) = read_all(&[&bytes[..512 + 1000]]);
    assert_eq!((entries[0].size, entries[0].seen), (3000, 1000));
    assert_eq!(entries[0].sha256, hash(&[5; 1000]));
    assert!(kept.is_empty());
    let (entries, kept) = read_all(&[&bytes[..300]]);
    assert!(entries.is_empty());
    assert_eq!(kept, &bytes[..300], "half a header is handed back");
}

/// What an archive tells: kind, name, link and digest of each entry, in the order of names. Nothing of it may be unread.
fn told(what: &str, archive: &[u8]) -> Vec<(char, String, String, Option<[u8; 32]>)> {
    let (entries, kept) = read_all(&archive.chunks(777).collect::<Vec<_>>());
    assert!(kept.is_empty(), "{what}: {} bytes are handed back", kept.len());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut told: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert_eq!(text(&entry.unread), "", "{what}: {}", text(&entry.name));
            let link = text(&entry.link);
            (char::from(entry.kind), text(&entry.name), link, entry.sha256)
        })
        .collect();
    told.sort();
    told
}

fn entry(kind: char, name: &str, link: &str, content: Option<&[u8]>) -> (char, String, String, Option<[u8; 32]>) {
    (kind, name.to_owned(), link.to_owned(), content.and_then(hash))
}

/// The archives that the machine's own tar writes of a folder with long names, links and an empty file.
#[test]
fn an_archive_of_the_machines_tar_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (long, far) = ("n".repeat(180), "f".repeat(150));
    std::fs::write(at("data"), vec![9; 70_000]).unwrap();
    std::fs::hard_link(at("data"), at("hard")).unwrap();
    std::os::unix::fs::symlink("data", at("link")).unwrap();
    std::fs::write(at("d\u{e9}j\u{e0} vu"), b"").unwrap();
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let tar = |options: &[&str]| {
        let tar = std::process::Command::new("tar")
            .args(options)
            .args(["--sort=name", "-cf", "-", "-C"])
            .arg(folder.path())
            .arg(".")
            .output()
            .unwrap();
        assert!(
            tar.status.success(),
            "{options:?}: {}",
            String::from_utf8_lossy(&tar.stderr)
        );
        told(&format!("{options:?}"), &tar.stdout)
    };
    let mut expected = vec![
        entry('0', "./data", "", Some(&[9; 70_000])),
        entry('0', "./d\u{e9}j\u{e0} vu", "", Some(b"")),
        entry('1', "./hard", "./data", None),
        entry('2', "./link", "data", None),
        entry('5', "./", "", None),
        entry('6', "./pipe", "", None),
    ];
    for format in ["--format=gnu", "--format=oldgnu", "--format=posix", "--format=ustar"] {
        assert_eq!(tar(&[format]), expected, "{format}");
    }
    let is_old = |entry: &(char, String, String, Option<[u8; 32]>)| entry.0 != '6';
    let old: Vec<_> = expected.iter().filter(|entry| is_old(entry)).cloned().collect();
    assert_eq!(tar(&["--format=v7", "--exclude=./pipe"]), old, "it has no fifos");
    std::fs::write(at(&long), b"long").unwrap();
    std::os::unix::fs::symlink(&far, at("far")).unwrap();
    expected.push(entry('0', &format!("./{long}"), "", Some(b"long")));
    expected.push(entry('2', "./far", &far, None));
    expected.sort();
    for format in ["--format=gnu", "--format=oldgnu", "--format=posix"] {
        assert_eq!(tar(&[format]), expected, "{format}");
    }
}

/// Of `golden/`, see the programs there.
#[test]
fn archives_of_pythons_and_of_gos_library_are_read() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tar/golden/");
    let long = "n".repeat(180);
    for name in [
        "python_ustar",
        "python_gnu",
        "python_pax",
        "go_ustar",
        "go_gnu",
        "go_pax",
    ] {
        let mut expected = vec![
            entry('5', "dir/", "", None),
            entry('0', "dir/plain.txt", "", Some(b"hello\n")),
            entry('0', "empty", "", Some(b"")),
            entry('2', "link", "dir/plain.txt", None),
            entry('1', "hard", "dir/plain.txt", None),
            entry('6', "pipe", "", None),
            entry('3', "device", "", None),
        ];
        if name != "go_ustar" {
            expected.push(entry('0', "d\u{e9}j\u{e0}.txt", "", Some(b"vu")));
        }
        if !name.ends_with("ustar") {
            expected.push(entry('0', &format!("d/{long}"), "", Some(b"long")));
            expected.push(entry('2', "far", &long, None));
        }
        if name == "python_pax" {
            expected.push(entry('0', "late", "", Some(b"1")));
        }
        expected.sort();
        let archive = std::fs::read(format!("{golden}{name}.tar")).unwrap();
        assert_eq!(told(name, &archive), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn cuts_make_no_difference(
        files in prop::collection::vec(("[a-z]{1,12}", prop::collection::vec(any::<u8>(), 0..1500)), 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..40),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(1..900_usize, 1..20),
    ) {
        let parts: Vec<_> = files.iter().map(|(name, content)| file(name, content)).collect();
        let mut bytes = [archive(&parts), tail.clone()].concat();
        if let Some((place, with)) = &damage {
            let place = place.index(bytes.len());
            bytes[place] = *with;
        }
        let whole = read_all(&[&bytes]);
        if damage.is_none() {
            prop_assert_eq!(whole.0.len(), files.len());
            let kept: Vec<u8> = tail.iter().copied().skip_while(|byte| *byte == 0).collect();
            prop_assert_eq!(&whole.1, &kept);
        }
        let mut pieces = Vec::new();
        let mut rest = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read_all(&pieces), whole);
    }

    #[test]
    fn whatever_headers_follow_each_other_every_byte_is_accounted_for(
        parts in prop::collection::vec(
            prop_oneof![
                Just(file("a", b"1")),
                Just(header("folder", b'5', 0)),
                Just(header("folder", b'5', 1)),
                Just(vec![0; BLOCK]),
                Just(extended(b'x', &pax("size", "3"))),
                Just(extended(b'x', &pax("comment", "c"))),
                Just(extended(b'x', b"9 no\n")),
                Just(extended(b'g', &pax("comment", "c"))),
                Just(extended(b'g', &pax("path", "p"))),
                Just(extended(b'L', b"long\0more")),
                Just(extended(b'K', b"")),
                Just(extended(b'X', b"")),
                Just([extended(b'x', &pax("size", "8589934592")), header("large", b'0', 0)].concat()),
                Just(header("", b'0', 512)),
                Just(header("folder/", 0, 0)),
                Just(header("x", b'x', 70_000)),
            ],
            0..8,
        ),
        end in 0..700_usize,
        tail in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = parts.concat();
        bytes.truncate(bytes.len().saturating_sub(end));
        fuzz_tar_reader(&[bytes, tail].concat());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        fuzz_tar_reader(&bytes);
    }

    #[test]
    fn no_header_with_a_good_checksum_makes_it_panic(
        fields in prop::collection::vec(any::<u8>(), BLOCK),
        kind in prop::sample::select(b"0123456LKXxgSVMZ\0".to_vec()),
        rest in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut block = fields;
        block[156] = kind;
        block[124..136].copy_from_slice(b"00000000777\0");
        fuzz_tar_reader(&[seal(block), rest].concat());
    }
}
