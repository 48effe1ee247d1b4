//! Packs of evidence from a real gateway: what who may have, whoever changes the file, and what the page in it shows in a real
//! browser (promise 5).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

use std::fs;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::chromium::look;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::Output;
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default";
/// What somebody may ask for who hopes that the auditor's browser runs it.
const HOSTILE: &str = "-name:</script><img/src=x/onerror=window.owned=1>";

fn start(upstream: &FakeApiServer) -> anyhow::Result<Gateway> {
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    Gateway::before(&upstream.upstream(), &options)
}

/// Acts of alice and of bob.
fn busy(gateway: &Gateway) -> anyhow::Result<()> {
    for (person, names) in [
        ("alice", ["pods", "secrets", "configmaps", "services"]),
        ("bob", ["pods", "pods", "secrets", "secrets"]),
    ] {
        let bearer = format!("Bearer {}", gateway.sign_in(person)?.token);
        for name in names {
            let answer = gateway
                .client()?
                .get(&format!("{TARGET}/{name}"), &[("Authorization", &bearer)])?;
            ensure!(answer.status == 200, "{}", answer.head);
        }
    }
    // Their ends are in the ledger, too: two packs are of the same acts.
    let ended = |records: &[Value]| records.iter().filter(|record| record["kind"] == "close").count() >= 8;
    gateway.records_with("the ends of eight reads", ended).map(drop)
}

/// A file of evidence in pieces.
#[derive(Clone)]
struct Pack {
    before: String,
    lines: Vec<String>,
    behind: String,
}

const BEGIN: &str = "<script type=\"text/plain\" id=\"evidence\">\n";

impl Pack {
    fn read(text: &str) -> anyhow::Result<Self> {
        let (before, rest) = text.split_once(BEGIN).context("the data begin")?;
        let (data, behind) = rest.split_once("</script>").context("the data end")?;
        Ok(Self {
            before: format!("{before}{BEGIN}"),
            lines: data.lines().map(str::to_owned).collect(),
            behind: format!("</script>{behind}"),
        })
    }

    fn text(&self) -> String {
        format!("{}{}\n{}", self.before, self.lines.join("\n"), self.behind)
    }

    fn value(&self, name: &str) -> &str {
        self.lines
            .iter()
            .find_map(|line| line.strip_prefix(&format!("{name} ")))
            .unwrap()
    }

    fn set(&mut self, name: &str, value: &str) {
        let line = self
            .lines
            .iter_mut()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap();
        *line = format!("{name} {value}");
    }

    fn statement(&self) -> Value {
        serde_json::from_slice(&STANDARD.decode(self.value("statement")).unwrap()).unwrap()
    }

    /// Says something else, in the same order of members.
    fn restate(&mut self, old: &str, new: &str) {
        let said = String::from_utf8(STANDARD.decode(self.value("statement")).unwrap()).unwrap();
        assert!(said.contains(old), "{old} in {said}");
        self.set("statement", &STANDARD.encode(said.replacen(old, new, 1)));
    }

    fn note(&self) -> String {
        String::from_utf8(STANDARD.decode(self.value("checkpoint")).unwrap()).unwrap()
    }

    /// Where the records begin.
    const RECORDS: usize = 4;

    fn record(&self, at: usize) -> Vec<String> {
        self.lines[Self::RECORDS + at].split(' ').map(str::to_owned).collect()
    }

    fn set_record(&mut self, at: usize, words: &[String]) {
        self.lines[Self::RECORDS + at] = words.join(" ");
    }

    fn seq(&self, at: usize) -> String {
        self.record(at)[1].clone()
    }

    fn leaf(&self, at: usize) -> Value {
        serde_json::from_slice(&STANDARD.decode(&self.record(at)[2]).unwrap()).unwrap()
    }

    fn count(&self) -> usize {
        self.lines.len() - Self::RECORDS - 1
    }

    fn recount(&mut self) {
        let count = self.count().to_string();
        self.set("end", &count);
    }
}

/// With one bit flipped in the middle of what is written in base64.
fn flipped(base64: &str) -> String {
    let mut bytes = STANDARD.decode(base64).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    STANDARD.encode(bytes)
}

fn pack(person: &Person<'_>, words: &str) -> anyhow::Result<Output> {
    // A busy disk may take longer to sign than the gateway waits.
    try_until("it is signed", PATIENCE, || {
        person.ok(&format!("gatescribe evidence pack {words}"))
    })
}

fn read(person: &Person<'_>, file: &str) -> anyhow::Result<Pack> {
    Pack::read(&fs::read_to_string(person.folder().join(file))?)
}

#[test]
fn promise_5_a_pack_is_checked_by_a_stranger_and_whatever_is_changed_in_it_is_found() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let [carol, bob] = Person::all_signed_in(&gateway, ["carol", "bob"])?;
    busy(&gateway)?;

    let made = pack(&carol, "verb:list --since 1h -o all.html")?;
    assert!(made.stderr.contains("all.html: 8 of 8 acts that match"), "{made}");
    assert_eq!(
        carol.types("gatescribe evidence pack verb:list -o all.html")?.code,
        6,
        "it takes nothing's place"
    );
    pack(&carol, "verb:list --since 1h --sample 3 --seed 8f3a -o drawn.html")?;
    pack(&carol, "verb:list --since 1h --sample 3 --seed 8f3a -o again.html")?;
    // What nobody matches is a pack as well: that it is nothing, is what was asked.
    let none = try_until("it is signed", PATIENCE, || {
        let _ = fs::remove_file(carol.folder().join("none.html"));
        let none = carol.types("gatescribe evidence pack verb:delete -o none.html")?;
        ensure!(none.code == 1, "{none}");
        Ok(none)
    })?;
    assert!(none.stderr.contains("0 of 0 acts that match"), "{none}");

    let verify = |file: &str, more: &str| carol.types(&format!("gatescribe evidence verify {file} --key {key} {more}"));
    for file in ["all.html", "drawn.html", "again.html", "none.html"] {
        let told = verify(file, "")?;
        assert_eq!(told.code, 0, "{told}");
        assert!(told.stdout.contains("✔ every record is one that was signed"), "{told}");
    }
    // The ledger's verifier knows a pack when it sees one, and says the same.
    for form in ["text", "json"] {
        let by_ledger = carol.types(&format!("gatescribe ledger verify all.html --key {key} -o {form}"))?;
        let told = verify("all.html", &format!("-o {form}"))?;
        assert_eq!((by_ledger.code, by_ledger.stdout), (told.code, told.stdout));
    }
    let said = verify("all.html", "-o json")?.json()?;
    assert_eq!((&said["proved"], &said["findings"]), (&json!(true), &json!([])));
    assert_eq!(said["statement"]["acts"]["packed"], 8);
    assert_eq!(
        said["records"].as_array().map(Vec::len),
        Some(17),
        "begin and end of each, and the record of the pack"
    );
    let (drawn, again) = (read(&carol, "drawn.html")?, read(&carol, "again.html")?);
    assert_eq!(
        drawn.statement()["records"],
        again.statement()["records"],
        "one seed draws one sample"
    );
    assert_eq!(
        drawn.statement()["acts"],
        json!({"range": drawn.statement()["acts"]["range"], "matched": 8, "packed": 3})
    );

    // Without an audit role one has one's own.
    let own = pack(&bob, "verb:list -o own.html")?;
    assert!(
        own.stderr.contains("4 of 4 acts that match") && own.stderr.contains("your own acts only"),
        "{own}"
    );
    let mine = read(&bob, "own.html")?;
    let users: Vec<Value> = (0..mine.count())
        .map(|at| mine.leaf(at)["by"]["user"].clone())
        .collect();
    assert!(
        users.iter().all(|user| user.is_null() || user == "bob@example.com"),
        "{users:?}"
    );
    assert_eq!(mine.statement()["read"], Value::Null, "not even how much others did");

    // Each of them is a record, with what was asked and how much was handed out.
    let told = |records: &[Value]| -> Vec<String> {
        let notes = records.iter().filter_map(|record| record["note"].as_str());
        notes
            .filter(|note| note.starts_with("packed "))
            .map(str::to_owned)
            .collect()
    };
    let notes = told(&gateway.records()?);
    for begin in [
        "packed 8 acts of all records as evidence for `verb:list since:1h`, statement sha256:",
        "packed 3 acts of all records as evidence for `verb:list since:1h sample:3 seed:8f3a`, statement sha256:",
        "packed 0 acts of all records as evidence for `verb:delete`, statement sha256:",
        "packed 4 acts of own records as evidence for `verb:list`, statement sha256:",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(begin)), "{begin}: {notes:#?}");
    }

    // Who has the files counts again, and finds the same acts; but nobody vouches for their counts.
    let dir = gateway.ledger();
    let copied = pack(
        &carol,
        &format!("verb:list --since 1h --dir {} -o files.html", dir.display()),
    )?;
    assert!(copied.stderr.contains("nobody vouches for the counts"), "{copied}");
    let all = read(&carol, "all.html")?;
    assert_eq!(
        read(&carol, "files.html")?.statement()["records"],
        all.statement()["records"]
    );
    let told = verify("files.html", "")?;
    assert_eq!(told.code, 10, "{told}");
    assert!(
        told.stdout
            .contains("not shown: that the query and the counts are true"),
        "{told}"
    );

    attacks(&carol, &key, &all, &drawn)
}

/// Every way to change a pack, the words that say where, and the exit code.
fn attacks(carol: &Person<'_>, key: &str, all: &Pack, drawn: &Pack) -> anyhow::Result<()> {
    let (first, second) = (all.seq(0), all.seq(1));
    let own = all.value("told").to_owned();
    let foreign = drawn.record(drawn.count() - 1);
    let untold =
        |what: &str, own: &str| format!("statement: {what} not what record {own} of the ledger says was packed");
    let counts = "its counts, its bounds, its sample or its list of records are";
    let drawn_own = drawn.value("told").to_owned();
    type Change<'c> = Box<dyn Fn(&mut Pack) + 'c>;
    let cases: Vec<(&str, &Pack, Change<'_>, String)> = vec![
        (
            "a bit of a record",
            all,
            Box::new(|pack| {
                let mut words = pack.record(0);
                words[2] = flipped(&words[2]);
                pack.set_record(0, &words);
            }),
            format!("record {first}: it is not the record that was signed"),
        ),
        (
            "a bit of a proof",
            all,
            Box::new(|pack| {
                let mut words = pack.record(1);
                words[3] = flipped(&words[3]);
                pack.set_record(1, &words);
            }),
            format!("record {second}: it is not the record that was signed"),
        ),
        (
            "a proof that ends early",
            all,
            Box::new(|pack| {
                let mut words = pack.record(0);
                words.pop();
                pack.set_record(0, &words);
            }),
            format!("record {first}: it is not the record that was signed"),
        ),
        (
            "who it was, and the hash anew",
            all,
            Box::new(|pack| {
                let mut words = pack.record(0);
                let leaf = String::from_utf8(STANDARD.decode(&words[2]).unwrap()).unwrap();
                words[2] = STANDARD.encode(leaf.replacen("alice", "mallo", 1));
                pack.set_record(0, &words);
            }),
            format!("record {first}: it is not the record that was signed"),
        ),
        (
            "two records in one another's place",
            all,
            Box::new(|pack| {
                let (mut one, mut other) = (pack.record(0), pack.record(1));
                std::mem::swap(&mut one[2], &mut other[2]);
                pack.set_record(0, &one);
                pack.set_record(1, &other);
            }),
            format!("record {first}: another record stands in its place"),
        ),
        (
            "two lines in one another's place",
            all,
            Box::new(|pack| pack.lines.swap(Pack::RECORDS, Pack::RECORDS + 1)),
            format!("line 6: record {first} does not stand behind one with a smaller number"),
        ),
        (
            "a record taken out",
            all,
            Box::new(|pack| {
                pack.lines.remove(Pack::RECORDS + 1);
                pack.recount();
            }),
            format!("record {second}: it was taken out"),
        ),
        (
            "a record taken out, and the number left",
            all,
            Box::new(|pack| drop(pack.lines.remove(Pack::RECORDS))),
            "16 records stand in it and its last line says 17".to_owned(),
        ),
        (
            "an act taken out everywhere",
            all,
            Box::new(|pack| {
                let act = pack.statement()["records"][0].to_string();
                pack.restate(&format!("{act},"), "");
                pack.restate("\"matched\":8,\"packed\":8", "\"matched\":7,\"packed\":7");
                pack.lines.drain(Pack::RECORDS..=Pack::RECORDS);
                pack.recount();
            }),
            untold("the number of acts is", &own),
        ),
        (
            "a record put in twice",
            all,
            Box::new(|pack| {
                let line = pack.lines[Pack::RECORDS].clone();
                pack.lines.insert(Pack::RECORDS, line);
                pack.recount();
            }),
            format!("line 6: record {first} does not stand behind one with a smaller number"),
        ),
        (
            "a record of another pack put in",
            all,
            Box::new(|pack| {
                let at = pack.lines.len() - 1;
                pack.lines.insert(at, foreign.join(" "));
                pack.recount();
            }),
            format!("record {drawn_own}: it was put in; the statement does not name it"),
        ),
        (
            "the query",
            all,
            Box::new(|pack| pack.restate("verb:list since:1h", "verb:list since:2h")),
            untold("the query is", &own),
        ),
        (
            "how many were in the range",
            all,
            Box::new(|pack| {
                let range = pack.statement()["acts"]["range"].to_string();
                pack.restate(&format!("\"range\":{range}"), "\"range\":100000");
            }),
            untold(counts, &own),
        ),
        (
            "how many matched",
            all,
            Box::new(|pack| pack.restate("\"matched\":8", "\"matched\":9")),
            "statement: another number of acts matched than it lists".to_owned(),
        ),
        (
            "the seed",
            drawn,
            Box::new(|pack| pack.restate("\"seed\":\"8f3a\"", "\"seed\":\"8f3b\"")),
            "statement: the sample is not the one that the seed draws from the population".to_owned(),
        ),
        (
            "the population",
            drawn,
            Box::new(|pack| {
                let population = pack.statement()["sample"]["population"].to_string();
                let fewer = population.split_once(',').unwrap().1;
                pack.restate(&population, &format!("[{fewer}"));
                pack.restate("\"matched\":8", "\"matched\":7");
            }),
            untold(counts, &drawn_own),
        ),
        (
            "the size of the tree",
            all,
            Box::new(|pack| {
                let note = pack.note();
                let size = note.lines().nth(1).unwrap().to_owned();
                let more = (size.parse::<u64>().unwrap() + 1).to_string();
                let forged = note.replacen(&format!("\n{size}\n"), &format!("\n{more}\n"), 1);
                pack.set("checkpoint", &STANDARD.encode(forged));
            }),
            "checkpoint: no key that you gave has signed its checkpoint".to_owned(),
        ),
        (
            "the checkpoint of a later pack",
            all,
            Box::new(|pack| pack.set("checkpoint", drawn.value("checkpoint"))),
            format!("record {first}: it is not the record that was signed"),
        ),
        (
            "another pack's record of making it",
            all,
            Box::new(|pack| {
                pack.set("told", &drawn_own);
                let at = pack.lines.len() - 2;
                pack.lines[at] = foreign.join(" ");
            }),
            untold("the number of acts is", &drawn_own),
        ),
        (
            "any record as that of making it",
            all,
            Box::new(|pack| pack.set("told", &first)),
            format!("statement: record {first} is not the gateway's record of making it"),
        ),
        (
            "the page says that all is well",
            all,
            Box::new(|pack| pack.behind = pack.behind.replacen("This evidence does not hold.", "Verified.", 1)),
            "page: it is not the one that `evidence pack` wrote".to_owned(),
        ),
        (
            "the end is cut off",
            all,
            Box::new(|pack| drop(pack.lines.pop())),
            "is not `record <number>".to_owned(),
        ),
    ];
    assert!(cases.len() >= 12);
    for (what, pack, change, words) in cases {
        let mut changed = pack.clone();
        change(&mut changed);
        ensure!(changed.text() != pack.text(), "{what}: nothing was changed");
        fs::write(carol.folder().join("changed.html"), changed.text())?;
        for form in ["text", "json"] {
            let told = carol.types(&format!(
                "gatescribe evidence verify changed.html --key {key} -o {form}"
            ))?;
            assert_eq!(told.code, 8, "{what}: {told}");
            assert!(told.stdout.contains(&words), "{what}: `{words}` in {told}");
        }
    }

    // Whoever takes the record of making it away is left with what nobody vouches for, and it is said.
    let mut alone = all.clone();
    alone.set("told", "-");
    let at = alone.lines.len() - 2;
    alone.lines.remove(at);
    alone.recount();
    alone.restate("\"query\":\"verb:list since:1h\"", "\"query\":\"verb:list\"");
    fs::write(carol.folder().join("alone.html"), alone.text())?;
    let told = carol.types(&format!("gatescribe evidence verify alone.html --key {key}"))?;
    assert_eq!(told.code, 10, "{told}");

    let witness = "witness.example.com/w1+34dfd9ec+BHMwCHH0TBaOfJSd4sdQ5gwsm7j/UwAXxaJnI06ctNuO";
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    for (line, code, words) in [
        (
            format!("all.html --key {other}"),
            8,
            "no key that you gave has signed its checkpoint",
        ),
        (
            format!("all.html --key {key} --witness {witness}"),
            8,
            "have to have cosigned",
        ),
        (format!("missing.html --key {key}"), 9, "cannot be read"),
        ("all.html --key nonsense".to_owned(), 2, "neither a key"),
    ] {
        let told = carol.types(&format!("gatescribe evidence verify {line}"))?;
        assert_eq!(told.code, code, "{line}: {told}");
        assert!(
            format!("{}{}", told.stdout, told.stderr).contains(words),
            "{line}: {told}"
        );
    }
    fs::write(carol.folder().join("letter.html"), "<p>hello</p>")?;
    for words in ["evidence", "ledger"] {
        let told = carol.types(&format!("gatescribe {words} verify letter.html --key {key}"))?;
        assert_eq!(told.code, 2, "{told}");
    }
    Ok(())
}

#[test]
fn promise_5_the_page_of_a_pack_checks_itself_in_a_browser_without_network() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let carol = Person::signed_in(&gateway, "carol")?;
    busy(&gateway)?;
    pack(
        &carol,
        &format!("verb:list {HOSTILE} --since 1h --sample 5 --seed a -o good.html"),
    )?;
    let file = |name: &str| format!("file://{}", carol.folder().join(name).display());
    let good = read(&carol, "good.html")?;
    let forged = |name: &str, change: &dyn Fn(&mut Pack)| {
        let mut changed = good.clone();
        change(&mut changed);
        fs::write(carol.folder().join(name), changed.text())
    };
    forged("flipped.html", &|pack| {
        let mut words = pack.record(2);
        words[2] = flipped(&words[2]);
        pack.set_record(2, &words);
    })?;
    forged("asked.html", &|pack| pack.restate("since:1h", "since:9h"))?;
    forged("less.html", &|pack| {
        pack.lines.remove(Pack::RECORDS);
        pack.recount();
    })?;
    forged("script.html", &|pack| {
        pack.behind = pack.behind.replacen("begin().catch", "window.owned=1;begin().catch", 1)
    })?;
    let pictures = std::env::var("EVIDENCE_PICTURES").ok();
    let picture = |name: &str| pictures.as_ref().map(|folder| format!("{folder}/{name}.png"));
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let seen = look(&[
        json!({"url": file("good.html"), "picture": picture("open"), "whole": true}),
        json!({"url": file("good.html"), "types": key, "picture": picture("desk"), "whole": true, "opens": true}),
        json!({"url": format!("{}#key={}", file("good.html"), key.replace('+', "%2B")), "dark": true, "picture": picture("dark"), "whole": true}),
        json!({"url": file("good.html"), "types": key, "width": 360, "picture": picture("phone"), "whole": true}),
        json!({"url": file("good.html"), "types": other}),
        json!({"url": file("flipped.html"), "types": key, "picture": picture("flipped"), "whole": true}),
        json!({"url": file("asked.html"), "types": key}),
        json!({"url": file("less.html"), "types": key}),
        json!({"url": file("script.html"), "inert": true}),
    ])?;
    let (changed_script, seen) = seen.split_last().context("the page with another script")?;
    let verdicts: Vec<&str> = seen.iter().filter_map(|page| page["verdict"].as_str()).collect();
    assert_eq!(
        verdicts,
        ["open", "verified", "open", "verified", "bad", "bad", "bad", "bad"],
        "{seen:#?}"
    );
    for page in seen {
        assert_eq!(
            (&page["elsewhere"], &page["complaints"]),
            (&json!([]), &json!([])),
            "{page:#}"
        );
        // Whatever was asked for and stands in records is text.
        assert_eq!(page["owned"], false, "{page:#}");
        let elements = page["elements"].to_string();
        assert!(!elements.contains("\"img\""), "{elements}");
        assert!(
            page["text"]
                .as_str()
                .is_some_and(|text| text.contains("</script><img/src=x/onerror=window.owned=1>")),
            "{page:#}"
        );
        assert!(
            page["wide"].as_i64().is_some_and(|pixels| pixels <= 0),
            "nothing is cut off at the side: {page:#}"
        );
        assert_eq!(page["accessible"]["status"], 1);
        assert_eq!(
            page["accessible"]["fields"],
            json!(["Public key of the ledger, and of its witnesses"])
        );
        let headings = page["accessible"]["headings"].as_array().map_or(0, Vec::len);
        assert!(headings >= 6, "{page:#}");
    }
    let verified = &seen[1];
    assert!(
        verified["sentence"]
            .as_str()
            .is_some_and(|said| said.starts_with("Verified: every record is one that was signed"))
    );
    let checks = verified["checks"].to_string();
    for words in [
        "11 of 11 records lead to the root",
        "the sample is the one that the seed draws",
        "The query and the counts are those that record",
        "The checkpoint is signed by",
    ] {
        assert!(checks.contains(words), "{words} in {checks}");
    }
    assert_eq!(
        seen[3]["accessible"]["tables"].as_array().map(Vec::len),
        Some(1),
        "what is hidden is hidden to all"
    );
    assert!(
        verified["marks"]
            .as_array()
            .is_some_and(|marks| marks.len() == 6 && marks.iter().all(|mark| mark == "proved"))
    );
    let faults = |page: &Value| page["faults"].to_string();
    assert!(
        faults(&seen[4]).contains("checkpoint: it is not signed by PeterNeumann"),
        "{}",
        faults(&seen[4])
    );
    let changed = good.seq(2);
    assert!(
        faults(&seen[5]).contains(&format!("record {changed}: it is not the record that was signed")),
        "{}",
        faults(&seen[5])
    );
    assert!(seen[5]["marks"].to_string().contains(&format!("record {changed}")));
    assert!(
        faults(&seen[6]).contains("statement: the query is not what record"),
        "{}",
        faults(&seen[6])
    );
    assert!(
        faults(&seen[7]).contains(&format!("record {}: it was taken out", good.seq(0))),
        "{}",
        faults(&seen[7])
    );

    // A page into which somebody wrote is not run at all: what it may run, it names by its hash.
    assert_eq!(
        (
            &changed_script["owned"],
            &changed_script["verdict"],
            &changed_script["checks"]
        ),
        (&json!(false), &Value::Null, &json!([])),
        "{changed_script:#}"
    );
    assert!(
        changed_script["complaints"]
            .to_string()
            .contains("Content Security Policy"),
        "{changed_script:#}"
    );
    let told = carol.types(&format!("gatescribe evidence verify script.html --key {key}"))?;
    assert_eq!(told.code, 8, "{told}");
    assert!(told.stdout.contains("page: it is not the one"), "{told}");
    Ok(())
}
