//! What stands in a pack of a real gateway, in words and counts compared with its ledger; and each kind of line of it altered: the page in a
//! real browser without network, `evidence verify` and `ledger verify` find the same (promise 5).
#![expect(
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

#[path = "evidence_altered/cosignatures.rs"]
mod cosignatures;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::chromium::look;
use tests::counterparts::{own_binary, repository};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, run};
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};
use tests::witness::Witness;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default";
const BEGIN: &str = "<script type=\"text/plain\" id=\"evidence\">\n";
const END: &str = "</script>";

/// Table, and where an auditor asks for it: SOC 2, ISO/IEC 27001:2022, HIPAA, PCI DSS 4.0.
const CONTROLS: [(&str, [&str; 4]); 4] = [
    (
        "What was asked and counted",
        [
            "CC7.2",
            "A.8.15, A.8.16",
            "§164.308(a)(1)(ii)(D)",
            "10.4.1, 10.3.1, 10.2.1.3",
        ],
    ),
    (
        "Acts",
        [
            "CC6.1–CC6.3",
            "A.5.15–A.5.18, A.8.2, A.8.15",
            "§164.312(b), (d)",
            "10.2.1.1–10.2.1.7, 10.2.2, 7.2, 8.2",
        ],
    ),
    (
        "Recordings of sessions",
        ["CC6.3, CC7.2", "A.8.2, A.8.15", "§164.312(b)", "10.2.1.2"],
    ),
    ("The checkpoint", ["CC7.2", "A.8.15", "§164.312(b)", "10.3.2, 10.3.4"]),
];
/// What no table of a pack shows, and what therefore stands under none, with the words of the book: automated review, retention, clocks,
/// failures of logging, copies elsewhere, the integrity of health records themselves.
const SERVED_BY_NONE: [&str; 7] = ["10.4.1.1", "10.5.1", "10.6", "10.7", "10.3.3", "A.8.17", "§164.312(c)"];
const STANDARDS: [&str; 4] = ["SOC 2", "ISO 27001", "HIPAA", "PCI DSS"];

fn ledger(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.arg("ledger").args(arguments);
    run(command, "", PATIENCE).with_context(|| arguments.join(" "))
}

/// A gateway whose ledger's key was changed and whose ledger is witnessed, and what a stranger needs to check it.
struct Witnessed {
    gateway: Gateway,
    /// The ledger's first key, which another has followed.
    first: String,
    witness: Witness,
    _upstream: FakeApiServer,
}

impl Witnessed {
    fn start() -> anyhow::Result<Self> {
        let upstream = FakeApiServer::start()?;
        let options = Options {
            authorization: Some("observe"),
            ..Options::default()
        };
        let mut gateway = Gateway::before(&upstream.upstream(), &options)?;
        let first = gateway.public_key()?;
        busy(&gateway, "alice")?;
        let file = gateway.file("data/keys/ledger.key");
        let made = ledger(&["rotate-key", file.to_str().context("a path in UTF-8")?])?;
        ensure!(made.code == 0, "{made}");
        let witness = Witness::of(&[&first, made.stdout.trim_end()])?;
        let mut config: Value = serde_json::from_str(&fs::read_to_string(gateway.config())?)?;
        config["ledger"] = json!({ "witnesses": [witness.configured("elsewhere")] });
        fs::write(gateway.config(), config.to_string())?;
        gateway.process().signal(nix::sys::signal::Signal::SIGTERM)?;
        gateway.start_again()?;
        busy(&gateway, "bob")?;
        let ended = |records: &[Value]| records.iter().filter(|record| record["kind"] == "close").count() >= 8;
        gateway.records_with("the ends of eight reads", ended)?;
        Ok(Self {
            gateway,
            first,
            witness,
            _upstream: upstream,
        })
    }

    /// A pack whose checkpoint the witness has cosigned.
    fn packed(&self, person: &Person<'_>, words: &str, name: &str) -> anyhow::Result<(Output, File)> {
        let path = person.folder().join(name);
        try_until("it is signed and cosigned", PATIENCE, || {
            let _ = fs::remove_file(&path);
            let made = person.ok(&format!("gatescribe evidence pack {words} -o {name}"))?;
            let file = File::read(&fs::read_to_string(&path)?)?;
            ensure!(file.note()?.contains("\n— witness.example/w1 "), "not cosigned yet");
            Ok((made, file))
        })
    }
}

fn busy(gateway: &Gateway, person: &str) -> anyhow::Result<()> {
    let bearer = format!("Bearer {}", gateway.sign_in(person)?.token);
    for name in ["pods", "secrets", "configmaps", "services"] {
        let answer = gateway
            .client()?
            .get(&format!("{TARGET}/{name}"), &[("Authorization", &bearer)])?;
        ensure!(answer.status == 200, "{}", answer.head);
    }
    Ok(())
}

/// A pack in pieces.
#[derive(Clone, PartialEq, Eq)]
struct File {
    before: String,
    lines: Vec<String>,
    behind: String,
}

impl File {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (before, rest) = text.split_once(BEGIN).context("the data begin")?;
        let (data, behind) = rest.split_once(END).context("the data end")?;
        Ok(Self {
            before: before.to_owned(),
            lines: data.lines().map(str::to_owned).collect(),
            behind: behind.to_owned(),
        })
    }

    fn text(&self) -> String {
        let lines = self.lines.join("\n");
        format!("{}{BEGIN}{lines}\n{END}{}", self.before, self.behind)
    }

    /// Where the line of this name stands that has so many of them before it.
    fn place(&self, name: &str, skip: usize) -> anyhow::Result<usize> {
        let begin = format!("{name} ");
        let mut places = (0..self.lines.len()).filter(|at| self.lines[*at].starts_with(&begin));
        places.nth(skip).with_context(|| format!("a line `{name}`"))
    }

    /// A word of such a line.
    fn word(&self, name: &str, at: usize) -> anyhow::Result<&str> {
        let line = &self.lines[self.place(name, 0)?];
        line.split(' ').nth(at).context("a word")
    }

    fn decoded(&self, name: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8(STANDARD.decode(self.word(name, 1)?)?)?)
    }

    fn note(&self) -> anyhow::Result<String> {
        self.decoded("checkpoint")
    }

    fn statement(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.decoded("statement")?)?)
    }

    /// With another word in that line.
    fn with(&self, name: &str, at: usize, edit: impl FnOnce(&str) -> anyhow::Result<String>) -> anyhow::Result<Self> {
        let mut other = self.clone();
        let line = &mut other.lines[self.place(name, 0)?];
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        words[at] = edit(&words[at])?;
        *line = words.join(" ");
        Ok(other)
    }

    /// With other text in what is written there in base64.
    fn saying(&self, name: &str, old: &str, new: &str) -> anyhow::Result<Self> {
        self.with(name, 1, |word| {
            let said = String::from_utf8(STANDARD.decode(word)?)?;
            ensure!(said.contains(old), "{old} in {said}");
            Ok(STANDARD.encode(said.replacen(old, new, 1)))
        })
    }

    /// With other lines of signatures below the checkpoint.
    fn signed(&self, edit: impl Fn(&str) -> anyhow::Result<Option<String>>) -> anyhow::Result<Self> {
        self.with("checkpoint", 1, |word| {
            let note = String::from_utf8(STANDARD.decode(word)?)?;
            let (text, lines) = note.split_once("\n\n").context("signatures")?;
            let lines: Vec<_> = lines.lines().map(edit).collect::<anyhow::Result<_>>()?;
            let lines: String = lines.iter().flatten().map(|line| format!("{line}\n")).collect();
            Ok(STANDARD.encode(format!("{text}\n\n{lines}")))
        })
    }

    /// With other bytes in the signature of this name.
    fn resigned(&self, name: &str, edit: impl Fn(&mut Vec<u8>)) -> anyhow::Result<Self> {
        let begin = format!("— {name} ");
        self.signed(|line| {
            let Some(signature) = line.strip_prefix(&begin) else {
                return Ok(Some(line.to_owned()));
            };
            let mut bytes = STANDARD.decode(signature)?;
            edit(&mut bytes);
            Ok(Some(format!("{begin}{}", STANDARD.encode(bytes))))
        })
    }

    fn reworded(&self, old: &str, new: &str) -> anyhow::Result<Self> {
        ensure!(self.before.contains(old), "no `{old}` on the page");
        let mut other = self.clone();
        other.before = other.before.replacen(old, new, 1);
        Ok(other)
    }

    fn dropped(&self, at: usize) -> Self {
        let mut other = self.clone();
        other.lines.remove(at);
        other
    }

    fn doubled(&self, at: usize) -> Self {
        let mut other = self.clone();
        other.lines.insert(at, other.lines[at].clone());
        other
    }

    fn swapped(&self, at: usize) -> Self {
        let mut other = self.clone();
        other.lines.swap(at, at + 1);
        other
    }
}

/// With one bit flipped in the middle of what is written in base64.
fn flipped(base64: &str) -> anyhow::Result<String> {
    let mut bytes = STANDARD.decode(base64)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Ok(STANDARD.encode(bytes))
}

/// The same bytes, written as RFC 4648 does not: with a bit set that means nothing.
fn written_otherwise(hash: &str) -> anyhow::Result<String> {
    let symbols = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (last, before) = hash
        .strip_suffix('=')
        .and_then(|rest| rest.as_bytes().split_last())
        .context("a hash")?;
    let at = symbols.iter().position(|symbol| symbol == last).context("a symbol")?;
    Ok(format!(
        "{}{}=",
        std::str::from_utf8(before)?,
        char::from(symbols[at + 1])
    ))
}

/// A kind of alteration: what it is, the file, and what page and programs say of it.
struct Case {
    what: String,
    file: File,
    page: String,
    programs: String,
}

fn case(what: &str, file: File, page: &str, programs: &str) -> Case {
    Case {
        what: what.to_owned(),
        file,
        page: page.to_owned(),
        programs: programs.to_owned(),
    }
}

/// Records, the change of the key and what stands behind them, altered where they stand.
fn records_altered(file: &File) -> anyhow::Result<Vec<Case>> {
    let first = file.word("record", 1)?;
    let told = file.word("told", 1)?;
    let record = format!("record {first}: it is not the record that was signed");
    let unnamed = format!("record {told}: it was put in; the statement does not name it");
    Ok(vec![
        case("a bit of a record", file.with("record", 2, flipped)?, &record, &record),
        case("a bit of a proof", file.with("record", 3, flipped)?, &record, &record),
        case(
            "a proof written otherwise",
            file.with("record", 3, written_otherwise)?,
            "data: line ",
            "evidence: line ",
        ),
        case(
            "a proof cut short",
            file.with("record", 3, |_| Ok("AAAA".to_owned()))?,
            "record ",
            "evidence: line ",
        ),
        case(
            "a record's number",
            file.with("record", 1, |_| Ok("0".to_owned()))?,
            "record 0: ",
            "record 0: ",
        ),
        case(
            "a bit of the change of the key",
            file.with("change", 1, flipped)?,
            "data: ",
            "evidence: line ",
        ),
        case(
            "the record that vouches",
            file.with("told", 1, |_| Ok(first.to_owned()))?,
            &unnamed,
            &unnamed,
        ),
        case(
            "no record that vouches",
            file.with("told", 1, |_| Ok("-".to_owned()))?,
            &unnamed,
            &unnamed,
        ),
        case(
            "the number of records",
            file.with("end", 1, |count| Ok(format!("{count}0")))?,
            "data: another number of records",
            "evidence: ",
        ),
    ])
}

/// What was asked and counted, altered where it stands.
fn statement_altered(file: &File) -> anyhow::Result<Vec<Case>> {
    let told = file.word("told", 1)?;
    let untold = |what: &str| format!("statement: {what} not what record {told} of the ledger says was packed");
    let counts = untold("its counts, its bounds, its sample or its list of records are");
    let range = format!("\"range\":{}", file.statement()?["acts"]["range"]);
    Ok(vec![
        case(
            "the query",
            file.saying("statement", "verb:list", "verb:get")?,
            &untold("the query is"),
            &untold("the query is"),
        ),
        case(
            "how many were in the range",
            file.saying("statement", &range, "\"range\":4000")?,
            &counts,
            &counts,
        ),
        case(
            "how many matched",
            file.saying("statement", "\"matched\":8", "\"matched\":9")?,
            "statement: another number of acts matched than it lists",
            "statement: another number of acts matched than it lists",
        ),
        case(
            "how many are here",
            file.saying("statement", "\"packed\":3", "\"packed\":4")?,
            "statement: another number of acts is here than it says",
            "statement: another number of acts is here than it says",
        ),
        case(
            "the seed",
            file.saying("statement", "\"seed\":\"8f3a\"", "\"seed\":\"8f3b\"")?,
            "statement: the sample is not the one that the seed draws",
            "statement: the sample is not the one that the seed draws",
        ),
        case(
            "a member more in the statement",
            file.saying("statement", "{\"v\":1,", "{\"v\":1,\"w\":1,")?,
            "statement: it is none that this page knows",
            "the statement is no JSON of the form that is known here",
        ),
    ])
}

/// Each line dropped, each doubled, each swapped with the next.
fn lines_altered(file: &File) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    let change = file.place("change", 0)?;
    for at in 0..file.lines.len() {
        let name = file.lines[at].split(' ').next().unwrap_or_default();
        // Without the change nothing leads from the key that is known to the one that signed.
        let (page, programs) = if at == change {
            (
                "checkpoint: it is not signed by",
                "and no key that you gave is of that log",
            )
        } else {
            ("data: ", "evidence: ")
        };
        cases.push(case(
            &format!("line {at}, {name}, dropped"),
            file.dropped(at),
            page,
            programs,
        ));
        cases.push(case(
            &format!("line {at}, {name}, doubled"),
            file.doubled(at),
            "data: ",
            "evidence: ",
        ));
        if at + 1 < file.lines.len() {
            cases.push(case(
                &format!("line {at}, {name}, behind the next"),
                file.swapped(at),
                "data: ",
                "evidence: ",
            ));
        }
    }
    let mut more = file.clone();
    more.lines.push("record 1 AA==".to_owned());
    cases.push(case(
        "a line behind the last",
        more,
        "data: the data do not end",
        "evidence: ",
    ));
    Ok(cases)
}

/// What the page says around the data.
fn page_altered(file: &File) -> anyhow::Result<Vec<Case>> {
    let page = "page: it is not the one that `evidence pack` wrote";
    let mut behind = file.clone();
    behind.behind = behind
        .behind
        .replacen("</body>", "<p>This serves PCI DSS 12.10.7, too.</p></body>", 1);
    ensure!(behind != *file);
    let reworded =
        |what: &str, old: &str, new: &str| Ok::<_, anyhow::Error>(case(what, file.reworded(old, new)?, page, page));
    Ok(vec![
        reworded("a control line", "PCI DSS 10.3.2", "PCI DSS 12.10.7")?,
        reworded(
            "a control line more",
            "<h2 id=\"seal-title\">",
            "<p class=\"serves\">FedRAMP AU-9</p><h2 id=\"seal-title\">",
        )?,
        reworded(
            "the instructions",
            "gatescribe evidence verify FILE --key ledger.pub",
            "gatescribe evidence verify FILE --key FILE",
        )?,
        reworded(
            "where an instruction leads",
            "https://c2sp.org/tlog-checkpoint",
            "https://c2sp.example/tlog-checkpoint",
        )?,
        case("words behind the page", behind, page, page),
    ])
}

/// What nobody vouches for has to fit together all the same.
fn unvouched_altered(file: &File) -> anyhow::Result<Vec<Case>> {
    let statement = file.statement()?;
    let act = statement["records"][0].to_string();
    let count = |name: &str, more: u64| {
        let count = statement["acts"][name].as_u64().unwrap_or_default();
        format!("\"{name}\":{}", count + more)
    };
    let mut twice = file.saying(
        "statement",
        &format!("[[{}", &act[1..]),
        &format!("[{act},[{}", &act[1..]),
    )?;
    for name in ["matched", "packed"] {
        twice = twice.saying("statement", &count(name, 0), &count(name, 1))?;
    }
    let order = "statement: the records of the acts are not in order, each once";
    let whose = "statement: it does not say whose records were looked at";
    Ok(vec![
        case("an act counted twice", twice, order, order),
        case(
            "whose records",
            file.saying("statement", "\"scope\":\"all\"", "\"scope\":\"own\"")?,
            whose,
            whose,
        ),
    ])
}

/// The page, `evidence verify` and `ledger verify` of each of these.
fn all_find(person: &Person<'_>, keys: &[&str; 2], cases: &[Case]) -> anyhow::Result<()> {
    let path = |at: usize| -> PathBuf { person.folder().join(format!("altered-{at}.html")) };
    for (at, case) in cases.iter().enumerate() {
        fs::write(path(at), case.file.text())?;
    }
    // Where the data cannot be read, no key is asked for.
    let pages: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(at, case)| {
            let url = format!("file://{}", path(at).display());
            if case.page.starts_with("data: ") {
                json!({ "url": url })
            } else {
                json!({ "url": url, "types": keys.join(" ") })
            }
        })
        .collect();
    let mut seen = Vec::new();
    for some in pages.chunks(12) {
        seen.extend(look(some)?);
    }
    let mut wrong = Vec::new();
    for (at, (case, page)) in cases.iter().zip(&seen).enumerate() {
        let faults = page["faults"].to_string();
        if page["verdict"] != "bad" || !faults.contains(&case.page) {
            wrong.push(format!(
                "{}: the page says {} and {faults}, not `{}`",
                case.what, page["verdict"], case.page
            ));
        }
        ensure!(
            page["elsewhere"] == json!([]) && page["complaints"] == json!([]),
            "{page:#}"
        );
        let file = format!("altered-{at}.html --key {} --witness {}", keys[0], keys[1]);
        let [by_evidence, by_ledger] =
            ["evidence", "ledger"].map(|command| person.types(&format!("gatescribe {command} verify {file}")));
        for (command, told) in [("evidence", by_evidence?), ("ledger", by_ledger?)] {
            if told.code != 8 || !told.stdout.contains(&case.programs) {
                wrong.push(format!(
                    "{}: `{command} verify` says {told}, not `{}`",
                    case.what, case.programs
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "of {} cases:\n{}", cases.len(), wrong.join("\n"));
    Ok(())
}

#[test]
fn promise_5_each_kind_of_altered_line_is_found_by_the_page_and_by_both_verifiers() -> anyhow::Result<()> {
    let witnessed = Witnessed::start()?;
    let carol = Person::signed_in(&witnessed.gateway, "carol")?;
    let (_, good) = witnessed.packed(&carol, "verb:list --sample 3 --seed 8f3a", "good.html")?;
    let keys = [witnessed.first.as_str(), witnessed.witness.key.as_str()];
    let log = keys[0].split('+').next().context("a name")?;

    // Unaltered, all three are content: what they find below is what was altered.
    let url = format!("file://{}", carol.folder().join("good.html").display());
    let seen = look(&[json!({"url": url, "types": keys.join(" ")})])?;
    assert_eq!(
        (&seen[0]["verdict"], &seen[0]["faults"]),
        (&json!("verified"), &json!([])),
        "{seen:#?}"
    );
    for command in ["evidence", "ledger"] {
        carol.ok(&format!(
            "gatescribe {command} verify good.html --key {} --witness {}",
            keys[0], keys[1]
        ))?;
    }
    let mut cases = records_altered(&good)?;
    cases.extend(statement_altered(&good)?);
    cases.extend(cosignatures::checkpoint_altered(&good, log)?);
    cases.extend(lines_altered(&good)?);
    cases.extend(page_altered(&good)?);
    let dir = witnessed.gateway.ledger();
    let (_, files) = witnessed.packed(&carol, &format!("verb:list --dir {}", dir.display()), "files.html")?;
    cases.extend(unvouched_altered(&files)?);
    let (_, other) = witnessed.packed(&carol, "verb:list", "other.html")?;
    cases.extend(cosignatures::forged(&good, &other, keys[1])?);
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in &cases {
        ensure!(
            case.file != good && case.file != files,
            "{}: nothing was altered",
            case.what
        );
    }
    all_find(&carol, &keys, &cases)
}

/// Drawn as the page says how, with a hash function and nothing of ours.
fn drawn(seed: &str, population: &[u64], size: usize) -> Vec<u64> {
    let rank = |number: &u64| {
        let text = format!("gatescribe.dev/evidence sample v1\n{seed}\n{number}");
        digest(&SHA256, text.as_bytes()).as_ref().to_vec()
    };
    let mut ranked = population.to_vec();
    ranked.sort_by_key(rank);
    ranked.truncate(size);
    ranked.sort_unstable();
    ranked
}

#[test]
fn promise_5_a_pack_says_what_was_asked_and_counted_and_how_to_check_it_as_the_ledger_has_it() -> anyhow::Result<()> {
    let witnessed = Witnessed::start()?;
    let carol = Person::signed_in(&witnessed.gateway, "carol")?;
    let (made, file) = witnessed.packed(&carol, "verb:list --sample 3", "drawn.html")?;
    let statement = file.statement()?;
    let seed = statement["sample"]["seed"].as_str().context("a seed")?;
    assert!(
        made.stderr.contains(&format!("drawn with --sample 3 --seed {seed}")),
        "{made}"
    );

    // The counts are those of the ledger.
    let number = |value: &Value| value.as_u64().with_context(|| format!("a number: {statement:#}"));
    let (begin, end) = (number(&statement["read"]["first"])?, number(&statement["read"]["end"])?);
    let records = witnessed.gateway.records()?;
    let inside: Vec<&Value> = records
        .iter()
        .filter(|record| record["seq"].as_u64().is_some_and(|seq| (begin..end).contains(&seq)))
        .collect();
    let begun = || inside.iter().filter(|record| record["pair"].is_null());
    let listed: Vec<u64> = begun()
        .filter(|record| record["req"]["verb"] == "list")
        .filter_map(|record| record["seq"].as_u64())
        .collect();
    assert_eq!((begin, listed.len()), (0, 8), "from the beginning, and the eight reads");
    assert_eq!(statement["read"]["within"], json!(inside.len()));
    assert_eq!(statement["sample"]["population"], json!(listed));
    assert_eq!(
        statement["acts"],
        json!({"range": begun().count(), "matched": 8, "packed": 3})
    );
    let firsts: Vec<&Value> = statement["records"]
        .as_array()
        .context("acts")?
        .iter()
        .map(|act| &act[0])
        .collect();
    assert_eq!(json!(firsts), json!(drawn(seed, &listed, 3)), "drawn by hand");

    let keys = [witnessed.first.as_str(), witnessed.witness.key.as_str()];
    let url = format!("file://{}", carol.folder().join("drawn.html").display());
    let seen = look(&[json!({"url": url, "types": keys.join(" ")})])?
        .pop()
        .context("the page")?;
    assert_eq!(seen["verdict"], "verified", "{seen:#}");
    let facts = &seen["facts"];
    let note = file.note()?;
    let (size, root) = (
        note.lines().nth(1).context("a size")?,
        note.lines().nth(2).context("a root")?,
    );
    for (name, said) in [
        ("Query", "verb:list".to_owned()),
        ("From", "the beginning of the ledger".to_owned()),
        ("Among whose records", "everybody’s".to_owned()),
        ("Acts in the range", begun().count().to_string()),
        ("Acts that match", "8".to_owned()),
        ("Acts here", "3".to_owned()),
        ("Sample", format!("3 drawn by the seed {seed}")),
        (
            "Records that were read",
            format!("0 to before {end}, {} of them within the bounds in time", inside.len()),
        ),
        (
            "Vouched for by",
            format!("record {} of the ledger", file.word("told", 1)?),
        ),
        ("Records under it", size.to_owned()),
        ("Root", hex::encode(STANDARD.decode(root)?)),
    ] {
        assert_eq!(facts[name], said, "{name}: {facts:#}");
    }
    says_who_signed(&seen, &keys)?;
    says_which_control_each_table_serves(&seen["serves"])?;
    says_how_to_check_it(&carol, &seen, &keys)
}

/// Who signed and who cosigned, by name; and that they did is checked.
fn says_who_signed(seen: &Value, keys: &[&str; 2]) -> anyhow::Result<()> {
    let signatures = seen["facts"]["Signatures, as they say"]
        .as_str()
        .context("signatures")?;
    let checks = seen["checks"].to_string();
    let witness = keys[1].splitn(3, '+').take(2).collect::<Vec<_>>().join("+");
    let log = keys[0].split('+').next().context("a name")?;
    ensure!(
        signatures.contains(&witness) && signatures.contains(&format!("{log}+")),
        "{signatures}"
    );
    ensure!(
        checks.contains(&format!("The checkpoint is cosigned by the witness {witness}")),
        "{checks}"
    );
    Ok(())
}

fn says_which_control_each_table_serves(serves: &Value) -> anyhow::Result<()> {
    let page = repository().join("docs/how-to/give-evidence-to-an-auditor.md");
    let book = fs::read_to_string(page)?;
    for (table, controls) in CONTROLS {
        let row = format!("| {table} | {} |", controls.join(" | "));
        assert!(book.contains(&row), "the book has no row `{row}`");
        let said = serves[table]
            .as_str()
            .with_context(|| format!("{table} in {serves:#}"))?;
        let parts: Vec<&str> = said.split(" · ").collect();
        for (standard, wanted) in STANDARDS.iter().zip(controls) {
            let part = parts.iter().find_map(|part| {
                let part = part.strip_prefix("Serves ").unwrap_or(part);
                part.strip_prefix(standard)
            });
            let part = part.with_context(|| format!("no {standard} in {said}"))?;
            for control in wanted.split(", ") {
                assert!(part.contains(control), "{standard} {control} of {table}: {said}");
            }
            for control in SERVED_BY_NONE {
                assert!(!part.contains(control), "{standard} {control} of {table}: {said}");
            }
        }
    }
    let (_, none) = book.split_once("No table serves").context("what no table serves")?;
    let none = none.split("\n\n").next().unwrap_or_default();
    for control in SERVED_BY_NONE {
        assert!(none.contains(control), "{control} in {none}");
    }
    Ok(())
}

/// The instructions of the page, done.
fn says_how_to_check_it(carol: &Person<'_>, seen: &Value, keys: &[&str; 2]) -> anyhow::Result<()> {
    let text = seen["text"].as_str().context("text")?;
    for words in [
        "Check it yourself",
        "gatescribe evidence verify FILE --key ledger.pub",
        "A record’s hash is SHA-256 over a zero byte and its leaf",
        "gatescribe.dev/evidence sample v1",
        "It does not prove that nothing else matched.",
        "gatescribe evidence pack QUERY --dir COPY",
    ] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    fs::write(carol.folder().join("ledger.pub"), keys[0])?;
    let told = carol.ok("gatescribe evidence verify drawn.html --key ledger.pub")?;
    assert!(told.stdout.contains("8 match, 3 are here"), "{told}");
    Ok(())
}
