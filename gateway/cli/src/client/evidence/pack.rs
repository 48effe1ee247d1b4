//! Making a file: the gateway finds, counts, records and proves; here it gets its page. Or all of it from a ledger's folder.

use std::path::Path;

use ledger::evidence::{
    Checked, Counts, Evidence, MAX_EVIDENCE_LEN, MOST_ACTS, MOST_RECORDS, Sample, Span, Statement, draw,
};
use ledger::note::Note;
use ledger::verify::key_changes;
use ledger::{NoReceipt, RealDisk, Tiles, checkpoints_of};
use rand::RngCore as _;
use search::{Archive, Matched, Population, Scope, Survey, Surveyed};

use super::PackArguments;
use super::file::wrap;
use crate::Exit;
use crate::client::ask::query;
use crate::client::gateway::{API, read_text_up_to};
use crate::client::home::Home;
use crate::client::http::now;
use crate::client::new_file::{must_be_new, write_new};
use crate::client::session::{block_on, ready};
use crate::client::trouble::{Trouble, chain, clean};
use crate::terminal::say;

pub(super) fn pack(arguments: &PackArguments) -> Result<Exit, Trouble> {
    let file = &arguments.file;
    arguments.gateway.gives_way(arguments.dir.as_deref())?;
    must_be_new(file, "evidence")?;
    let sample = arguments.sample.map(|size| {
        let seed = arguments.seed.clone().unwrap_or_else(random_seed);
        (u64::from(size), seed)
    });
    let text = match &arguments.dir {
        Some(dir) => from_dir(dir, arguments, sample)?.to_string(),
        None => remote(arguments, sample)?,
    };
    let not_understood = |cause: String| {
        Trouble::new(Exit::Fault, "what the gateway answered is no evidence")
            .because(cause)
            .remedy("update gatescribe on the older side: `gatescribe version`")
    };
    let evidence = Evidence::parse(text.as_bytes()).map_err(|error| not_understood(chain(&error)))?;
    let none = evidence.chain(&[], &[]);
    let checked = evidence.check(&none);
    let statement = checked.statement.as_ref();
    let statement = statement.ok_or_else(|| not_understood("it holds no statement".to_owned()))?;
    write_new(file, &wrap(&text))?;
    say(&in_words(&evidence, &checked, statement, file));
    Ok(if statement.acts.matched == 0 {
        Exit::No
    } else {
        Exit::Done
    })
}

fn random_seed() -> String {
    let mut bytes = [0; 8];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

fn remote(arguments: &PackArguments, sample: Option<(u64, String)>) -> Result<String, Trouble> {
    let words = arguments.query.join(" ");
    let (size, seed) = sample.map_or((None, None), |(size, seed)| (Some(size.to_string()), Some(seed)));
    let pairs = [
        ("q", Some(words.as_str()).filter(|words| !words.is_empty())),
        ("since", arguments.since.as_deref()),
        ("until", arguments.until.as_deref()),
        ("sample", size.as_deref()),
        ("seed", seed.as_deref()),
    ];
    let home = Home::find()?;
    block_on(async {
        let ready = ready(&home, arguments.gateway.url.as_deref(), API).await?;
        let url = format!("{}/evidence{}", ready.kept.endpoints.api, query(&pairs));
        read_text_up_to(MAX_EVIDENCE_LEN, &ready.client, &url, ready.token.reveal()).await
    })
}

/// By whoever may read the files. No record of the ledger says that it was made, so nobody vouches for what it counts.
fn from_dir(dir: &Path, arguments: &PackArguments, sample: Option<(u64, String)>) -> Result<Evidence, Trouble> {
    let population = survey(dir, arguments)?;
    let all: Vec<u64> = population.matched.iter().map(Matched::first).collect();
    let chosen = match &sample {
        Some((size, seed)) => draw(seed, &all, *size),
        None => all.clone(),
    };
    if count(chosen.len()) > u64::from(MOST_ACTS) {
        let many = chosen.len();
        return Err(too_much(format!("{many} acts match, and a pack holds {MOST_ACTS}")));
    }
    let acts = population.matched.iter();
    let acts: Vec<&Matched> = acts.filter(|act| chosen.binary_search(&act.first()).is_ok()).collect();
    let mut spots: Vec<_> = acts.iter().flat_map(|act| act.records.iter().copied()).collect();
    if spots.len() > MOST_RECORDS {
        let many = spots.len();
        return Err(too_much(format!(
            "these acts have {many} records, and a pack holds {MOST_RECORDS}"
        )));
    }
    spots.sort_by_key(|spot| spot.seq);
    let statement = Statement {
        v: Statement::VERSION,
        made: now(),
        tool: concat!("gatescribe ", env!("CARGO_PKG_VERSION")).to_owned(),
        query: said(arguments),
        from: population.from,
        to: population.to,
        scope: Scope::All.name().to_owned(),
        subject: None,
        read: Some(Span {
            first: population.first,
            end: population.end,
            within: population.within,
        }),
        acts: Counts {
            range: population.range,
            matched: count(all.len()),
            packed: count(acts.len()),
        },
        records: acts
            .iter()
            .map(|act| act.records.iter().map(|spot| spot.seq).collect())
            .collect(),
        sample: sample.map(|(size, seed)| Sample {
            size,
            seed,
            population: all,
        }),
    };
    let last = spots.last().map_or(0, |spot| spot.seq + 1);
    let note = note(dir, last)?;
    let made = Evidence::make(&Tiles::open(dir), statement.to_bytes(), &spots, None, note, &|| true);
    let changes = key_changes(&RealDisk::new(dir)).map_err(|error| {
        Trouble::new(Exit::Fault, "the changes of the ledger's key cannot be read").because(chain(&error))
    })?;
    let made = made.map_err(|error| unproved(&error))?;
    Ok(made.with_changes(changes))
}

fn too_much(what: String) -> Trouble {
    Trouble::new(Exit::Usage, what).remedy("narrow the query or its bounds in time, or draw some with --sample")
}

fn survey(dir: &Path, arguments: &PackArguments) -> Result<Population, Trouble> {
    let wrong = |why: String| Trouble::new(Exit::Usage, "the query is not understood").because(why);
    let query = search::Query::parse(&arguments.query.join(" ")).map_err(|error| wrong(error.to_string()))?;
    let bound = |text: &Option<String>| text.as_deref().and_then(search::read_time);
    let query = query
        .within(bound(&arguments.since), bound(&arguments.until))
        .map_err(|twice| wrong(format!("`{twice}` stands both in the query and beside it; say it once")))?;
    let survey = Survey {
        query: &query,
        scope: &Scope::All,
        now: now(),
    };
    let surveyed = Archive::of_dir(dir).survey(&survey, &mut || true).map_err(|error| {
        Trouble::new(Exit::Fault, "the ledger cannot be read")
            .because(chain(&error))
            .remedy("name the ledger's folder (`ledger` in the gateway's dataDir), as somebody who may read it")
    })?;
    match surveyed {
        Surveyed::Whole(population) => Ok(population),
        Surveyed::TooMany | Surveyed::NotYet => {
            let what = format!("more than {} acts match", search::MOST_MATCHED);
            Err(Trouble::new(Exit::Usage, what).remedy("narrow the query or its bounds in time"))
        }
    }
}

/// As the gateway records what it was asked.
fn said(arguments: &PackArguments) -> String {
    let mut said = arguments.query.join(" ");
    for (name, value) in [("since", &arguments.since), ("until", &arguments.until)] {
        if let Some(value) = value {
            said.push_str(&format!(" {name}:{value}"));
        }
    }
    said.trim_start().to_owned()
}

/// The newest checkpoint that is witnessed and covers so many records, else the newest.
fn note(dir: &Path, size: u64) -> Result<Note, Trouble> {
    let covers = |note: &Note| ledger::Checkpoint::parse(note.text()).is_ok_and(|checkpoint| checkpoint.size >= size);
    let [witnessed, newest] = checkpoints_of(dir);
    let unread =
        |cause: NoReceipt| Trouble::new(Exit::NotFound, "the folder has no signed checkpoint").because(chain(&cause));
    witnessed.ok().filter(covers).map_or_else(|| newest.map_err(unread), Ok)
}

fn unproved(error: &NoReceipt) -> Trouble {
    let exit = match error {
        NoReceipt::TooLong => return too_much(error.to_string()),
        NoReceipt::Unsigned { .. } => Exit::Unreachable,
        _ => Exit::Integrity,
    };
    Trouble::new(exit, "these records cannot be proved")
        .because(chain(error))
        .remedy("gatescribe ledger verify DIR --key KEY says what holds")
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn in_words(evidence: &Evidence, checked: &Checked<'_>, statement: &Statement, file: &Path) -> String {
    let Counts { range, matched, packed } = statement.acts;
    let checkpoint = evidence.checkpoint();
    let file = file.display();
    let mut lines = vec![format!(
        "✔ {file}: {packed} of {matched} acts that match, of {range} in the range, with {} records",
        checked.records
    )];
    if let Some(sample) = &statement.sample {
        lines.push(format!("  drawn with --sample {} --seed {}", sample.size, sample.seed));
    }
    if statement.scope == "own" {
        lines.push("! of your own acts only: you have no audit role".to_owned());
    }
    if evidence.told().is_none() {
        lines.push("! nobody vouches for the counts: it was made from files, and no record says so".to_owned());
    }
    lines.push(format!(
        "  proved against a tree of {} records of {}",
        checkpoint.size,
        clean(&checkpoint.origin)
    ));
    lines.push(format!(
        "  check it anywhere: gatescribe evidence verify {file} --key KEY"
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use ledger::note::{Algorithm, KeyName, SigningKey};
    use ledger::{Checkpoint, NEWEST_CHECKPOINT, WITNESSED};

    use super::*;

    /// Whoever opened one of them as files are opened would wait here for ever.
    #[test]
    fn promise_5_a_fifo_in_a_ledgers_folder_is_waited_for_by_no_pack_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in [WITNESSED, NEWEST_CHECKPOINT] {
            nix::unistd::mkfifo(&at(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let said = note(folder.path(), 0).unwrap_err().text();
        assert!(
            said.contains("the folder has no signed checkpoint") && said.contains("it is a FIFO and no regular file"),
            "{said}"
        );
        // One that is in the way of what is witnessed leaves what is signed.
        let key = SigningKey::generate(KeyName::new("log.example/a").unwrap(), Algorithm::Ed25519).unwrap();
        let checkpoint = Checkpoint {
            origin: "log.example/a".to_owned(),
            size: 1,
            root: ledger::leaf_hash(b"one"),
        };
        let mut signed = Note::new(checkpoint.to_string()).unwrap();
        signed.sign(&key, 0).unwrap();
        std::fs::remove_file(at(NEWEST_CHECKPOINT)).unwrap();
        std::fs::write(at(NEWEST_CHECKPOINT), signed.to_string()).unwrap();
        assert_eq!(note(folder.path(), 1).unwrap(), signed);
    }
}
