//! `gatescribe reconcile`: a ledger against the audit log that the API server itself writes, by their files, with nobody to ask.

mod doubt;
mod observed;
mod show;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use insight::Calls;
use insight::reconcile::{CallerKind, Given, Reconciliation, Report};
use model::event::RecordKind;

use crate::terminal::{data_and, fail};
use crate::{Exit, server_log};
use doubt::{Behind, Doubt, End};

/// Of unreadable lines so many are named.
const NAMED: usize = 5;
/// So often, and in these steps, a checkpoint is waited for over what was read: longer than a gateway that runs takes to sign.
const LOOKS: usize = 20;
const STEP: Duration = Duration::from_millis(100);

/// What is compared.
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// The ledger's folder, or a copy of it.
    #[arg(value_name = "LEDGER")]
    ledger: PathBuf,
    /// The API server's audit log, oldest file first: `audit.k8s.io/v1` events or lists of them, one to a line; `-` for
    /// standard input; or the folder of a ledger in which `gatescribe observe` keeps it.
    #[arg(value_name = "AUDIT_LOG", required = true)]
    logs: Vec<PathBuf>,
    /// Another ledger of the same gateway, which it had before LEDGER or since, or a copy of it; again for more.
    #[arg(long = "ledger", value_name = "DIR")]
    other_ledgers: Vec<PathBuf>,
    /// The cluster, as the gateway's configuration names it.
    #[arg(long)]
    cluster: String,
    /// By which name the API server knows the gateway's credential for forwarding; again for more.
    #[arg(long, required = true, value_name = "USER")]
    account: Vec<String>,
    /// Name of another credential of the gateway, with which it reads for itself (`observer`); again for more.
    #[arg(long, value_name = "USER")]
    own: Vec<String>,
    /// By how many seconds the two clocks may differ.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=86_400))]
    slack: u64,
    /// How many calls of each caller around the gate are named, and of those that may have been sent.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(..=1000))]
    examples: u16,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// For whom a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A person.
    Text,
    /// A machine: one JSON object.
    Json,
}

/// What could not be read of either log.
#[derive(Debug, Default)]
struct Unread {
    /// Lines of the audit log.
    lines: u64,
    /// Of them the first few: file, line, why.
    named: Vec<String>,
    /// Records of the ledger.
    records: u64,
    /// Records of the gateway's gaps that were not signed when a run ended: they excuse nothing.
    gaps: u64,
    /// Records that somebody put into a ledger: they are left out.
    foreign: u64,
    /// Records of which a record says so that is under no checkpoint itself.
    claimed: u64,
    /// Records behind the newest checkpoint.
    behind: Behind,
    /// Records that were not signed when a run ended, and are compared like all others.
    unproved: u64,
    /// Where reading a ledger ended before its end, and why.
    ledger: Option<String>,
    /// How far each ledger was read.
    ends: Vec<End>,
}

impl Unread {
    const fn is_nothing(&self) -> bool {
        let is_all_signed = self.foreign == 0 && self.claimed == 0 && self.behind.records == 0;
        self.lines == 0 && self.records == 0 && self.gaps == 0 && is_all_signed && self.ledger.is_none()
    }
}

pub(crate) fn run(arguments: &Reconcile) -> Exit {
    let mut looks = 1..LOOKS;
    let mut again = || {
        let next = looks.next();
        next.inspect(|_| std::thread::sleep(STEP)).is_some()
    };
    match reconcile(arguments, &mut again) {
        Ok((report, unread)) => {
            let text = match arguments.output {
                Output::Text => show::in_words(&report, &unread, &arguments.cluster),
                Output::Json => show::as_json(&report, &unread),
            };
            data_and(&text, exit_of(&report, &unread))
        }
        Err(error) => {
            fail(&error);
            Exit::Fault
        }
    }
}

/// What is wrong comes before what was not read or nobody can know, and that before what went around the gate.
fn exit_of(report: &Report, unread: &Unread) -> Exit {
    let around = report.around(CallerKind::Person) + report.around(CallerKind::Anonymous);
    match () {
        () if !report.findings.is_empty() => Exit::Integrity,
        () if !unread.is_nothing() || report.covers.is_none() || report.unknown.all() > 0 => Exit::Partly,
        () if around > 0 => Exit::No,
        () => Exit::Done,
    }
}

/// `again` waits for the next look at what is signed, and says whether there is one.
fn reconcile(arguments: &Reconcile, again: &mut dyn FnMut() -> bool) -> anyhow::Result<(Report, Unread)> {
    let inputs = arguments.logs.iter().filter(|file| file.as_os_str() == "-");
    anyhow::ensure!(
        inputs.count() <= 1,
        "standard input can be read once: give `-` once, behind a pipe of all of it (`cat audit-*.log audit.log |`)"
    );
    let mut unread = Unread::default();
    let ledgers: Vec<&PathBuf> = std::iter::once(&arguments.ledger)
        .chain(&arguments.other_ledgers)
        .collect();
    once_each("ledger", ledgers.iter().copied())?;
    once_each("log", arguments.logs.iter().filter(|file| file.as_os_str() != "-"))?;
    let calls = calls_of(ledgers, &arguments.cluster, &mut unread)?;
    let given = Given {
        accounts: arguments.account.iter().cloned().collect(),
        own: arguments.own.iter().cloned().collect(),
        slack: Duration::from_secs(arguments.slack),
        examples: usize::from(arguments.examples),
    };
    let mut both = Reconciliation::of(&calls, given);
    for log in &arguments.logs {
        if log.is_dir() {
            observed::read(log, &arguments.cluster, &mut both, &mut unread)?;
        } else {
            read_log(log, &mut both, &mut unread)?;
        }
    }
    // Last, since a gateway that runs has signed what was read while the rest was.
    unread.behind = Behind::settled(&unread.ends, again)?;
    Ok((both.finish(), unread))
}

/// Of a log that is read twice each call would have arrived twice; what could not be read of a ledger would be counted twice.
fn once_each<'a>(what: &str, given: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for path in given {
        // Of one that cannot be found, opening it says more.
        let place = path.canonicalize().unwrap_or_else(|_| path.clone());
        anyhow::ensure!(
            seen.insert(place),
            "`{}` is given twice: give each {what} once",
            path.display()
        );
    }
    Ok(())
}

fn calls_of<'a>(
    folders: impl IntoIterator<Item = &'a PathBuf>,
    cluster: &str,
    unread: &mut Unread,
) -> anyhow::Result<Calls> {
    let mut calls = Calls::of(cluster);
    for (n, folder) in folders.into_iter().enumerate() {
        if n > 0 {
            calls.next_ledger();
        }
        read_ledger(folder, &mut calls, unread)?;
    }
    unread.records = calls.unreadable();
    Ok(calls)
}

fn read_ledger(folder: &Path, calls: &mut Calls, unread: &mut Unread) -> anyhow::Result<()> {
    let reader = opened(folder)?;
    let first = reader.segments().first().map_or(0, |segment| segment.first_seq);
    let (doubt, mut end) = (Doubt::of(&reader, first, folder)?, End::of(folder, first));
    for record in reader.records_from(first) {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let why = format!("{:#}", anyhow::Error::new(error));
                unread.ledger = Some(match unread.ledger.take() {
                    Some(before) => format!("{before}; {why}"),
                    None => why,
                });
                calls.break_off();
                break;
            }
        };
        end.reach(record.seq);
        let is_gap = record.kind == RecordKind::Gap;
        if unread.is_put_in(&doubt, record.seq) || !unread.counts(&doubt, &mut end, record.seq, is_gap) {
            calls.pass_over(record.seq);
        } else {
            calls.push(record.seq, record.kind, &record.leaf);
        }
    }
    unread.ends.push(end);
    Ok(())
}

fn opened(folder: &Path) -> anyhow::Result<ledger::Reader> {
    let reader =
        ledger::Reader::open(folder).with_context(|| format!("cannot read the ledger in `{}`", folder.display()))?;
    anyhow::ensure!(
        !reader.segments().is_empty(),
        "`{}` holds no ledger: no `*.seg` file stands there",
        folder.display()
    );
    Ok(reader)
}

/// A line that is no event is counted and named.
fn read_log(file: &Path, both: &mut Reconciliation<'_>, unread: &mut Unread) -> anyhow::Result<()> {
    server_log::each_line(file, &mut |at, line| {
        let mut read = |line: &[u8]| {
            insight::for_each(line, &mut |_, event| {
                match event {
                    Ok(event) => both.push(event),
                    Err(error) => unread.line(file, at.number, &error.to_string()),
                }
                ControlFlow::Continue(())
            })
        };
        match line.map(&mut read) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => unread.line(file, at.number, &error.to_string()),
            Err(too_long) => unread.line(file, at.number, &too_long.to_string()),
        }
        Ok(())
    })
}

impl Unread {
    /// Whether somebody put a record in: it makes no call one of the gateway's, accuses nobody, and excuses nothing.
    fn is_put_in(&mut self, doubt: &Doubt, seq: u64) -> bool {
        let is_foreign = doubt.is_foreign(seq);
        self.foreign += u64::from(is_foreign);
        is_foreign
    }

    /// Whether a record of the gateway's ledger that nobody is known to have put in counts for what it says.
    fn counts(&mut self, doubt: &Doubt, end: &mut End, seq: u64, is_gap: bool) -> bool {
        // Whoever can write the ledger's files could excuse by a gap what they did with a stolen credential.
        if is_gap && doubt.is_unsigned(seq) {
            self.gaps += 1;
            return false;
        }
        self.tell(doubt, seq);
        if is_gap {
            end.excuses(seq);
        }
        true
    }

    /// Counts a record that is compared, and of which it is not known who wrote it.
    fn tell(&mut self, doubt: &Doubt, seq: u64) {
        self.unproved += u64::from(doubt.is_unsigned(seq));
        self.claimed += u64::from(doubt.is_claimed(seq));
    }

    fn line(&mut self, file: &Path, number: u64, why: &str) {
        self.lines += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{}:{number}: {why}", file.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::{Arc, LazyLock};

    use ledger::note::{Algorithm, KeyName, Signer, SigningKey};
    use model::event::RecordKind;
    use model::time::Timestamp;

    use super::*;
    use crate::server_log::LONGEST_LINE;

    #[test]
    fn a_line_without_an_end_and_one_that_is_too_long_are_named_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        let event = |id: &str| {
            format!(
                r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"{id}","stage":"ResponseComplete","verb":"get","requestURI":"/version","user":{{"username":"mallory"}},"requestReceivedTimestamp":"2026-11-22T10:00:00.000000Z","stageTimestamp":"2026-11-22T10:00:01.000000Z"}}"#
            )
        };
        let mut file = File::create(&log).unwrap();
        writeln!(file, "{}", event("1")).unwrap();
        file.write_all(&vec![b' '; LONGEST_LINE + 5]).unwrap();
        write!(file, "\n\n{{\"kind\":\n{}", event("2")).unwrap();
        drop(file);
        let calls = Calls::of("prod");
        let mut both = Reconciliation::of(&calls, Given::default());
        let mut unread = Unread::default();
        read_log(&log, &mut both, &mut unread).unwrap();
        let report = both.finish();
        assert_eq!((report.events, report.around(CallerKind::Person)), (2, 2));
        assert_eq!(unread.lines, 2, "{:?}", unread.named);
        assert!(
            unread.named[0].contains(":2: it is longer than 64 MiB"),
            "{:?}",
            unread.named
        );
        assert!(
            unread.named[1].contains(":4: it is no audit event"),
            "{:?}",
            unread.named
        );
        assert_eq!(exit_of(&report, &unread), Exit::Partly);
        assert_eq!(exit_of(&report, &Unread::default()), Exit::No);
    }

    #[test]
    fn calls_that_may_have_been_sent_are_named_to_a_person_and_to_a_machine_and_the_rest_is_counted() {
        let mut calls = Calls::of("prod");
        for (seq, user) in [(7, "alice"), (8, ""), (9, "bob\u{1b}[2J")] {
            let call = serde_json::json!({"id": format!("id-{seq}"), "t": "2026-11-22T10:00:00Z", "cluster": "prod",
                "by": {"user": user}, "req": {"verb": "delete", "path": "/clusters/prod/api/v1/pods/x"}});
            calls.push(seq, RecordKind::Intent, call.to_string().as_bytes());
        }
        let told = |examples| {
            let mut both = Reconciliation::of(
                &calls,
                Given {
                    examples,
                    ..Given::default()
                },
            );
            for (id, minute) in [("1", "09:59"), ("2", "10:01")] {
                let event = format!(
                    r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"{id}","stage":"ResponseComplete","verb":"get","requestURI":"/version","user":{{"username":"mallory"}},"requestReceivedTimestamp":"2026-11-22T{minute}:00.000000Z","stageTimestamp":"2026-11-22T{minute}:01.000000Z"}}"#
                );
                let events = insight::read_line(event.as_bytes()).unwrap();
                events.into_iter().for_each(|event| both.push(event));
            }
            both.finish()
        };
        let report = told(2);
        let said = show::in_words(&report, &Unread::default(), "prod");
        let wanted = "  not compared: 3 calls of which the ledger does not know whether they were sent; the audit log has none of them\n  \
            not compared:   2026-11-22 10:00:00 id-7, record 7: alice delete /api/v1/pods/x\n  \
            not compared:   2026-11-22 10:00:00 id-8, record 8: (sealed name) delete /api/v1/pods/x\n  \
            not compared:   and 1 more: `--examples N` names more of them\n";
        assert!(said.ends_with(wanted), "{said}");
        let json: serde_json::Value = serde_json::from_str(&show::as_json(&report, &Unread::default())).unwrap();
        assert_eq!(json["report"]["undecided"], 3, "{json:#}");
        let named: Vec<&str> = json["report"]["undecidedCalls"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|call| call["id"].as_str())
            .collect();
        assert_eq!(named, ["id-7", "id-8"], "{json:#}");
        // All of them, and what a caller chose as a name writes nothing to a terminal.
        let said = show::in_words(&told(3), &Unread::default(), "prod");
        assert!(
            said.contains("id-9, record 9: bob") && !said.contains("more: `--examples"),
            "{said}"
        );
        assert!(!said.contains('\u{1b}'), "{said}");
        assert!(!show::in_words(&told(0), &Unread::default(), "prod").contains("id-7"));
    }

    #[derive(clap::Parser)]
    pub(super) struct Line {
        #[command(flatten)]
        pub(super) asked: Reconcile,
    }

    #[test]
    fn standard_input_is_read_once_and_given_twice_it_is_refused() {
        let line = [
            "reconcile",
            "ledger",
            "-",
            "-",
            "--cluster",
            "prod",
            "--account",
            "gate",
        ];
        let asked = <Line as clap::Parser>::try_parse_from(line).unwrap().asked;
        let error = reconcile(&asked, &mut || false).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("standard input can be read once: give `-` once"),
            "{error}"
        );
    }

    static KEY: LazyLock<Arc<dyn Signer>> = LazyLock::new(|| {
        let name = KeyName::new("audit.example/reconciled").unwrap();
        Arc::new(SigningKey::generate(name, Algorithm::Ed25519).unwrap())
    });

    /// A run that appends these and signs them.
    pub(super) fn ledger(folder: &Path, records: &[(RecordKind, serde_json::Value)]) {
        let disk: Arc<dyn ledger::Disk> = Arc::new(ledger::RealDisk::new(folder));
        let ledger = Arc::new(appended(folder, records));
        let key = Arc::clone(&*KEY);
        let clock = || Timestamp::from_unix_seconds(1_790_000_000);
        let publisher = ledger::Publisher::start(&ledger, disk, None, vec![key], Arc::new(clock)).unwrap();
        ledger.close_and(|| publisher.finish()).unwrap();
    }

    /// What somebody appends who has no key.
    pub(super) fn appended(folder: &Path, records: &[(RecordKind, serde_json::Value)]) -> ledger::Ledger {
        let disk = Arc::new(ledger::RealDisk::new(folder));
        let (ledger, _) = ledger::Ledger::open(folder, ledger::Options::default(), disk).unwrap();
        for (kind, body) in records {
            let ticket = ledger.append(*kind, body.to_string().into_bytes(), Vec::new()).unwrap();
            ticket.wait().unwrap();
        }
        ledger
    }

    #[test]
    fn promise_4_a_ledger_of_observe_stands_for_the_log_and_one_of_a_gateway_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (at, to) = ("2026-11-22T10:00:00Z", "2026-11-22T10:00:01Z");
        let planted = serde_json::json!({"id": "1", "t": at, "source": "ingested", "cluster": "prod", "by": {"user": "mallory"},
            "req": {"verb": "list", "path": "/api/v1/secrets"}, "outcome": {"status": 200},
            "ingested": {"audit_id": "x", "stage": "ResponseComplete", "received": at, "stamped": to}});
        let gap = serde_json::json!({"id": "2", "t": to, "source": "ingested", "cluster": "prod",
            "sum": {"count": 1, "from": at, "to": to, "what": "logGap"}});
        ledger(
            folder.path(),
            &[(RecordKind::Access, planted.clone()), (RecordKind::Summary, gap)],
        );
        let calls = Calls::of("prod");
        let mut both = Reconciliation::of(&calls, Given::default());
        observed::read(folder.path(), "prod", &mut both, &mut Unread::default()).unwrap();
        let report = both.finish();
        assert_eq!(
            (report.events, report.around(CallerKind::Person), report.gaps.len()),
            (1, 1, 1)
        );
        let mut both = Reconciliation::of(&calls, Given::default());
        let other = observed::read(folder.path(), "dev", &mut both, &mut Unread::default()).unwrap_err();
        assert!(
            other
                .to_string()
                .contains("cannot stand for the audit log of `dev`: it is of cluster `prod`"),
            "{other}"
        );
    }

    #[test]
    fn promise_4_calls_from_before_a_ledger_are_said_and_compared_where_the_one_of_before_is_given_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let to = |name: &str| folder.path().join(name);
        let records = |id: &str, hour: u32| {
            let time = format!("2026-11-22T{hour:02}:00:00Z");
            let [begin, end] = answered(id, "get", &time);
            [(RecordKind::Start, serde_json::json!({ "t": time })), begin, end]
        };
        for name in ["old", "new"] {
            std::fs::create_dir(to(name)).unwrap();
        }
        ledger(&to("old"), &records("1", 9));
        ledger(&to("new"), &records("2", 10));
        let mut log = File::create(to("audit.log")).unwrap();
        for (id, time) in [("0", "09:30"), ("1", "09:00"), ("2", "10:00")] {
            writeln!(log, r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"{id}","stage":"ResponseComplete","verb":"get","requestURI":"/version","user":{{"username":"gate"}},"impersonatedUser":{{"username":"alice"}},"requestReceivedTimestamp":"2026-11-22T{time}:00.000000Z","stageTimestamp":"2026-11-22T{time}:00.000000Z"}}"#).unwrap();
        }
        drop(log);
        let compared = |ledgers: &[&str]| {
            let [new, log] = [to("new"), to("audit.log")].map(|path| path.display().to_string());
            let mut line = vec!["reconcile".to_owned(), new, log];
            line.extend(["--cluster", "prod", "--account", "gate"].map(str::to_owned));
            line.extend(
                ledgers
                    .iter()
                    .flat_map(|name| ["--ledger".to_owned(), to(name).display().to_string()]),
            );
            let asked = <Line as clap::Parser>::try_parse_from(line).unwrap().asked;
            reconcile(&asked, &mut || false).unwrap()
        };
        let (alone, unread) = compared(&[]);
        assert_eq!(exit_of(&alone, &unread), Exit::Partly);
        assert_eq!(
            (alone.unknown.before_ledger, alone.findings.len(), alone.joined),
            (2, 0, 1)
        );
        let said = show::in_words(&alone, &unread, "prod");
        let words = "  not compared: 2 calls with the gateway's credential from before the ledger begins (2026-11-22 10:00:00 UTC): they are not \
             looked at; give the ledger of that time as well (`--ledger DIR`)\n";
        assert!(said.ends_with(words), "{said}");
        // What neither has is found then, and what both have is joined.
        let (both, unread) = compared(&["old"]);
        assert_eq!(exit_of(&both, &unread), Exit::Integrity);
        let found: Vec<&str> = both.findings.iter().map(|one| one.id.as_str()).collect();
        assert_eq!((found, both.joined, both.unknown.all()), (vec!["0"], 2, 0));
    }

    #[test]
    fn promise_5_a_gap_that_nobody_had_signed_when_a_run_ended_excuses_nothing_and_the_report_says_so() {
        let gap = |seen: u64| {
            let gap = serde_json::json!({"why": "diskFull", "from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z",
                "passed": {"reads": seen, "effects": 0}, "at_least": true});
            (
                RecordKind::Gap,
                serde_json::json!({"id": format!("g{seen}"), "t": "2026-11-22T10:00:00Z", "gap": gap}),
            )
        };
        let of = |kind, from: u64, until: u64| {
            (
                kind,
                serde_json::json!({"id": "", "unsigned": {"from": from, "until": until}}),
            )
        };
        for kind in [RecordKind::Damage, RecordKind::Recovery] {
            let folder = tempfile::tempdir().unwrap();
            // What a forger says of the first one counts as little as his gap.
            ledger(
                folder.path(),
                &[gap(1), gap(2), of(RecordKind::Damage, 0, 1), of(kind, 1, 3), gap(3)],
            );
            let mut unread = Unread::default();
            let calls = calls_of([&folder.path().to_owned()], "prod", &mut unread).unwrap();
            let counted: Vec<u64> = calls.gaps().iter().map(|gap| gap.passed).collect();
            let (left_out, said) = match kind {
                RecordKind::Damage => ([0, 2, 0], vec!["2 records of the ledger that somebody put in"]),
                _ => (
                    [1, 0, 1],
                    vec![
                        "1 gaps of the ledger, whose records were not signed when a run ended",
                        "whether the gateway wrote 1 records that were not signed when a run ended; they are compared like all others",
                    ],
                ),
            };
            assert_eq!(counted, [1, 3]);
            assert_eq!([unread.gaps, unread.foreign, unread.unproved], left_out);
            let both = Reconciliation::of(&calls, Given::default());
            let report = both.finish();
            assert_eq!(exit_of(&report, &unread), Exit::Partly);
            let words = show::in_words(&report, &unread, "prod");
            assert!(said.iter().all(|said| words.contains(said)), "{words}");
        }
    }

    /// The attack: a stolen credential's call gets a record that says that it was the gateway's.
    #[test]
    fn promise_5_a_call_that_somebody_put_into_the_ledger_is_no_call_of_the_gateway() {
        let folder = tempfile::tempdir().unwrap();
        let call = |id, verb| answered(id, verb, "2026-11-22T10:00:00Z");
        let said = serde_json::json!({"id": "", "unsigned": {"from": 2, "until": 6}});
        // Under an id of its own, and under that of an honest call.
        let mut records = [call("a", "get"), call("thief", "delete"), call("a", "delete")].concat();
        records.push((RecordKind::Damage, said));
        ledger(folder.path(), &records);
        let mut unread = Unread::default();
        let calls = calls_of([&folder.path().to_owned()], "prod", &mut unread).unwrap();
        assert!(calls.find("thief").is_none());
        assert_eq!(calls.find("a").unwrap().1.verb.as_ref(), "get");
        assert_eq!((unread.foreign, calls.len()), (4, 1));
        assert_eq!(
            exit_of(&Reconciliation::of(&calls, Given::default()).finish(), &unread),
            Exit::Partly
        );
    }

    /// A call of alice's that the cluster answered.
    pub(super) fn answered(id: &str, verb: &str, time: &str) -> [(RecordKind, serde_json::Value); 2] {
        let begin = serde_json::json!({"id": id, "t": time, "cluster": "prod", "by": {"user": "alice"},
            "req": {"verb": verb, "path": "/version"}});
        let end = serde_json::json!({"id": id, "t": time, "upstream": {"address": "10.0.0.1:6443"}, "outcome": {"end": "answered"}});
        [(RecordKind::Access, begin), (RecordKind::Close, end)]
    }

    pub(super) fn gap_at(time: &str) -> (RecordKind, serde_json::Value) {
        let gap =
            serde_json::json!({"why": "diskFull", "from": time, "to": time, "passed": {"reads": 1, "effects": 0}});
        (RecordKind::Gap, serde_json::json!({"id": "g", "t": time, "gap": gap}))
    }

    /// The attack: calls of a stolen credential in the time between two ledgers, the later of which begins with a gap.
    #[test]
    fn promise_4_a_ledger_whose_first_record_is_a_gap_begins_with_it_and_has_lost_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["old", "new"].map(|name| folder.path().join(name));
        let start = |time| (RecordKind::Start, serde_json::json!({ "t": time }));
        for (folder, records) in folders.iter().zip([
            [start("2026-11-22T08:00:00Z"), start("2026-11-22T09:00:00Z")],
            [gap_at("2026-11-22T10:00:00Z"), start("2026-11-22T10:05:00Z")],
        ]) {
            std::fs::create_dir(folder).unwrap();
            ledger(folder, &records);
        }
        let time = |text: &str| Timestamp::parse(text).unwrap();
        let alone = calls_of([&folders[1]], "prod", &mut Unread::default()).unwrap();
        assert_eq!(alone.begins(), Some(time("2026-11-22T10:00:00Z")));
        let both = calls_of(&folders, "prod", &mut Unread::default()).unwrap();
        let between = time("2026-11-22T09:30:00Z");
        assert_eq!(both.kept(between, Duration::from_secs(5)), insight::Kept::There);
        assert_eq!(both.gaps().len(), 1);
    }

    /// After a crash the gateway writes a gap again; and whoever has the disk could write down one of it first.
    #[test]
    fn promise_5_a_gap_that_counts_stays_where_the_same_one_was_not_signed_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let time = "2026-11-22T10:00:00Z";
        let unsigned = serde_json::json!({"id": "", "t": time, "unsigned": {"from": 0, "until": 1}});
        let records = [gap_at(time), (RecordKind::Recovery, unsigned), gap_at(time)];
        ledger(folder.path(), &records);
        let mut unread = Unread::default();
        let calls = calls_of([&folder.path().to_owned()], "prod", &mut unread).unwrap();
        assert_eq!((calls.gaps().len(), unread.gaps), (1, 1));
    }

    /// A gap of one ledger is not taken back for a record of that number in another.
    #[test]
    fn promise_5_what_was_not_signed_in_one_ledger_takes_nothing_from_another() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["old", "new"].map(|name| folder.path().join(name));
        let unsigned = serde_json::json!({"id": "", "t": "2026-11-22T10:00:01Z", "unsigned": {"from": 0, "until": 1}});
        for (folder, records) in folders.iter().zip([
            vec![gap_at("2026-11-22T09:00:00Z")],
            vec![gap_at("2026-11-22T10:00:00Z"), (RecordKind::Recovery, unsigned)],
        ]) {
            std::fs::create_dir(folder).unwrap();
            ledger(folder, &records);
        }
        for folders in [[&folders[0], &folders[1]], [&folders[1], &folders[0]]] {
            let mut unread = Unread::default();
            let calls = calls_of(folders, "prod", &mut unread).unwrap();
            let counted: Vec<String> = calls.gaps().iter().map(|gap| gap.from.to_string()).collect();
            assert_eq!((counted.len(), unread.gaps), (1, 1));
            assert!(counted[0].contains("T09:00:00"), "{counted:?}");
            // Nor has that ledger lost its beginning, which would excuse what came between the two.
            let between = Timestamp::parse("2026-11-22T09:30:00Z").unwrap();
            assert_eq!(calls.kept(between, Duration::from_secs(5)), insight::Kept::There);
        }
    }

    #[test]
    fn a_ledger_that_is_given_twice_by_whatever_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (here, link) = (folder.path().join("ledger"), folder.path().join("link"));
        std::fs::create_dir(&here).unwrap();
        std::os::unix::fs::symlink(&here, &link).unwrap();
        for again in [here.join("."), link] {
            let [here, again] = [&here, &again].map(|path| path.display().to_string());
            let line = [
                "reconcile",
                &here,
                "-",
                "--ledger",
                &again,
                "--cluster",
                "prod",
                "--account",
                "gate",
            ];
            let asked = <Line as clap::Parser>::try_parse_from(line).unwrap().asked;
            assert_eq!(
                reconcile(&asked, &mut || false).unwrap_err().to_string(),
                format!("`{again}` is given twice: give each ledger once")
            );
        }
    }

    /// `audit*.log audit.log` in a shell.
    #[test]
    fn a_log_that_is_given_twice_is_refused_and_accuses_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, log) = (folder.path().join("ledger"), folder.path().join("audit.log"));
        std::fs::create_dir(&kept).unwrap();
        ledger(&kept, &answered("1", "get", "2026-11-22T10:00:00Z"));
        let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","stage":"ResponseComplete","verb":"get","requestURI":"/version","user":{"username":"gate"},"impersonatedUser":{"username":"alice"},"requestReceivedTimestamp":"2026-11-22T10:00:00.000000Z","stageTimestamp":"2026-11-22T10:00:00.000000Z"}"#;
        std::fs::write(&log, format!("{event}\n")).unwrap();
        let [kept, log] = [&kept, &log].map(|path| path.display().to_string());
        let compared = |logs: &[&str]| {
            let line = [&["reconcile", &kept], logs, &["--cluster", "prod", "--account", "gate"]].concat();
            reconcile(
                &<Line as clap::Parser>::try_parse_from(line).unwrap().asked,
                &mut || false,
            )
        };
        let (once, unread) = compared(&[&log]).unwrap();
        assert_eq!(
            (once.joined, once.findings.len(), exit_of(&once, &unread)),
            (1, 0, Exit::Done)
        );
        assert_eq!(
            compared(&[&log, &log]).unwrap_err().to_string(),
            format!("`{log}` is given twice: give each log once")
        );
    }

    #[test]
    fn of_several_ledgers_the_one_is_named_whose_rest_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let folders = ["old", "new"].map(|name| folder.path().join(name));
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
            let start = serde_json::json!({ "t": "2026-11-22T10:00:00Z" });
            ledger(
                folder,
                &[(RecordKind::Start, start.clone()), (RecordKind::Start, start)],
            );
        }
        let damaged = segment_in(&folders[1]);
        let mut bytes = std::fs::read(&damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&damaged, bytes).unwrap();
        let mut unread = Unread::default();
        calls_of(&folders, "prod", &mut unread).unwrap();
        let why = unread.ledger.unwrap();
        let named = format!("`{}` is damaged at byte ", damaged.display());
        assert!(why.starts_with(&named), "{why}");
        assert_eq!(why.matches(&*folders[1].to_string_lossy()).count(), 1, "{why}");
    }

    fn segment_in(folder: &Path) -> PathBuf {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let mut segments = files.filter(|file| file.extension().is_some_and(|end| end == "seg"));
        segments.next().unwrap()
    }

    #[test]
    fn a_folder_without_a_ledger_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_owned();
        let error = calls_of([&folder], "prod", &mut Unread::default()).unwrap_err();
        assert!(error.to_string().contains("holds no ledger"), "{error}");
    }
}
