//! `bench proof`: inclusion and consistency proofs out of the files of a ledger of ten million records, made and checked one after the other on one
//! thread. `proof [--quick] [FOLDER]`; quick is a tenth of the records.
//!
//! A proof is made as a receipt's is: by [`Tiles`], which reads the hashes that it needs from the files each time. Beside the making stands what as many bare
//! reads of the same file take, of one tile's hashes each, and beside the checking what one SHA-256 of a node takes. Every proof has to hold, and no
//! longer when a bit of it is turned.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod folder;

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ledger::{
    Disk, Hash, Head, Ledger, Options, RealDisk, Tiles, check_consistency, check_inclusion, consistency_proof,
    inclusion_proof, leaf_hash, node_hash, root_at,
};
use model::event::RecordKind;

type Failure = Box<dyn std::error::Error>;

const RECORDS: u64 = 10_000_000;
/// Of each kind.
const PROOFS: u64 = 2_000;
/// Records that are waited for together.
const AT_ONCE: u64 = 8_192;
/// Hashes of a tile, and the bytes of one.
const TILE: usize = 256 * 32;

fn main() -> Result<(), Failure> {
    let (flags, rest): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument == "--quick");
    let dir = PathBuf::from(rest.first().map_or("target/proof", String::as_str));
    let records = if flags.is_empty() { RECORDS } else { RECORDS / 10 };
    let measured = folder::in_new(&dir, |dir| write(dir, records).and_then(|()| measure(dir, records)))?;
    println!("{measured}");
    Ok(())
}

fn write(dir: &Path, records: u64) -> Result<(), Failure> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let (ledger, _) = Ledger::open(dir, Options::default(), disk)?;
    let body = || b"{\"id\":\"0193\"}".to_vec();
    for number in 1..=records {
        if number % AT_ONCE == 0 || number == records {
            ledger.append(RecordKind::Access, body(), Vec::new())?.wait()?;
        } else {
            ledger.append_forget(RecordKind::Access, body(), Vec::new())?;
        }
    }
    let size = ledger.durable().size;
    ledger.close();
    if size == records {
        Ok(())
    } else {
        Err(format!("{size} records are there, and {records} were written").into())
    }
}

/// Seconds, of making and of checking, and how many hashes the longest proof has.
#[derive(Default)]
struct Times {
    making: Vec<f64>,
    checking: Vec<f64>,
    hashes: usize,
    longest: usize,
}

impl Times {
    fn add<E: std::error::Error + 'static, F: std::error::Error + 'static>(
        &mut self,
        make: impl FnOnce() -> Result<Vec<Hash>, E>,
        check: impl Fn(&[Hash]) -> Result<(), F>,
    ) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut proof = make()?;
        self.making.push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        check(black_box(&proof))?;
        self.checking.push(begin.elapsed().as_secs_f64());
        self.hashes += proof.len();
        self.longest = self.longest.max(proof.len());
        if let Some(byte) = proof.last_mut().and_then(|hash| hash.last_mut()) {
            *byte ^= 1;
            if check(&proof).is_ok() {
                return Err("a proof holds of which a bit was turned".into());
            }
        }
        Ok(())
    }

    fn line(self, name: &str, node: f64) -> String {
        let ([made, made_slow], [checked, checked_slow]) = (spread(self.making), spread(self.checking));
        format!(
            "{name}make_us_p50={:.1} {name}make_us_p99={:.1} {name}check_us_p50={:.2} {name}check_us_p99={:.2} {name}check_nodes={:.1} {name}longest={}",
            made * 1e6,
            made_slow * 1e6,
            checked * 1e6,
            checked_slow * 1e6,
            checked / node,
            self.longest,
        )
    }
}

fn measure(dir: &Path, records: u64) -> Result<String, Failure> {
    let tiles = Tiles::open(dir);
    let head_at = |size: u64| root_at(&tiles, size).map(|root| Head { size, root });
    let tree = head_at(records)?;
    let (mut inclusion, mut consistency) = (Times::default(), Times::default());
    for number in 0..PROOFS {
        // Spread over the tree, and near one another as little as can be (the multiplier is Knuth's).
        let index = number.wrapping_mul(11_400_714_819_323_198_485) % records;
        let leaf = leaf_hash(&tiles.record(index, records)?);
        inclusion.add(
            || inclusion_proof(&tiles, index, records),
            |proof| check_inclusion(black_box(&leaf), index, &tree, proof),
        )?;
        let old = head_at(index.max(1))?;
        consistency.add(
            || consistency_proof(&tiles, old.size, records),
            |proof| check_consistency(black_box(&old), &tree, proof),
        )?;
    }
    let reads = inclusion.hashes / usize::try_from(PROOFS)?;
    let (node, read) = (node_seconds(), read_seconds(dir, reads)?);
    Ok(format!(
        "proof {} {} bare_reads_us={:.1} sha256_node_ns={:.0} leaves={records} proofs={PROOFS}",
        inclusion.line("", node),
        consistency.line("consistency_", node),
        read * 1e6,
        node * 1e9,
    ))
}

/// Seconds of so many reads of a tile's hashes, at places all over the largest file of hashes.
fn read_seconds(dir: &Path, reads: usize) -> Result<f64, Failure> {
    let files = std::fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.path());
    let hashes = files.filter(|path| path.extension().is_some_and(|end| end == "hashes"));
    let largest = hashes.max_by_key(|path| path.metadata().map_or(0, |about| about.len()));
    let file = File::open(largest.ok_or("no file of hashes")?)?;
    let tiles = file.metadata()?.len() / u64::try_from(TILE)?;
    let mut times = Vec::new();
    let mut buffer = vec![0; TILE];
    for round in 0..PROOFS {
        let begin = Instant::now();
        for read in 0..u64::try_from(reads)? {
            let at = (round * 64 + read).wrapping_mul(11_400_714_819_323_198_485) % tiles.max(1);
            file.read_at(&mut buffer, at * u64::try_from(TILE)?)?;
            black_box(&buffer);
        }
        times.push(begin.elapsed().as_secs_f64());
    }
    let [middle, _] = spread(times);
    Ok(middle)
}

/// Seconds of one hash of a node.
fn node_seconds() -> f64 {
    const ROUNDS: u32 = 1_000_000;
    let (begin, mut hash) = (Instant::now(), [7; 32]);
    for _ in 0..ROUNDS {
        hash = node_hash(black_box(&hash), &[9; 32]);
    }
    black_box(hash);
    begin.elapsed().as_secs_f64() / f64::from(ROUNDS)
}

/// The middle one, and the one that one in a hundred is above.
fn spread(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [2, 100].map(|part| {
        let at = times.len().saturating_sub(times.len() / part).saturating_sub(1);
        times.get(at).copied().unwrap_or(f64::NAN)
    })
}
