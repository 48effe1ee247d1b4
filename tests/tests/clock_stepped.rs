//! The machine's clock is set while a real gateway runs: back by a day, forward by a day, and right again. The program is told another time by libfaketime
//! (Debian's), which reads it from a file at each question; nothing else of the machine is told, and nothing of the program knows.

use std::process::Command;

use anyhow::{Context as _, ensure};
use model::time::Timestamp;
use serde_json::{Value, json};
use tests::clock::Hand;
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::field;
use tests::kubectl::{Output, run};
use tests::metrics::Scrape;
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
/// In milliseconds.
const DAY: i64 = 86_400_000;

fn read(gateway: &Gateway, token: &str) -> anyhow::Result<(u16, String)> {
    let bearer = format!("Bearer {token}");
    let answer = gateway.client()?.get(TARGET, &[("Authorization", &bearer)])?;
    let id = field(&answer.head, "Gatescribe-Record").context("the answer names its record")?;
    Ok((answer.status, id.to_owned()))
}

/// The steps that the ledger tells, in milliseconds, once there are so many.
fn steps(gateway: &Gateway, count: usize) -> anyhow::Result<Vec<i64>> {
    let of = |records: &[Value]| -> Vec<i64> {
        let steps = records.iter().filter(|record| record["kind"] == "clock");
        steps.filter_map(|record| record["clock"]["millis"].as_i64()).collect()
    };
    let records = gateway.records_with("the step is a record", |records| of(records).len() >= count)?;
    Ok(of(&records))
}

fn ledger(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.arg("ledger").args(arguments);
    run(command, "", PATIENCE)
}

/// Waits until the standing check has read all records once more, and says what it has found.
fn checked_again(gateway: &Gateway) -> anyhow::Result<f64> {
    let rounds = |scrape: &Scrape| scrape.sum("gateway_ledger_checks_total", &[]);
    let before = rounds(&Scrape::of(gateway.admin())?);
    try_until("the standing check goes round twice", PATIENCE, || {
        let scrape = Scrape::of(gateway.admin())?;
        // The round that was under way may have begun before.
        ensure!(rounds(&scrape) >= before + 2.0, "{} and {before}", rounds(&scrape));
        Ok(scrape.sum("gateway_ledger_findings", &[]))
    })
}

/// The record of a call that is served, and its receipt.
fn served(gateway: &Gateway, person: &Person<'_>, token: &str) -> anyhow::Result<String> {
    let (status, id) = read(gateway, token)?;
    ensure!(status == 200, "{status}");
    // A busy disk may take longer to sign than the gateway waits.
    let taken = try_until("the record is signed", PATIENCE, || {
        person.ok(&format!("gatescribe audit receipt {id}"))
    })?;
    Ok(taken.stdout)
}

/// What the ledger holds of it afterwards: each record in its place, though the times of some are a day before those of earlier ones.
fn is_in_order(gateway: &Gateway) -> anyhow::Result<()> {
    let records = gateway.records()?;
    let mut last = None;
    let mut back = 0;
    for (place, record) in records.iter().enumerate() {
        ensure!(record["seq"] == json!(place), "{record} at {place}");
        let time = Timestamp::parse(record["t"].as_str().context("a time")?)?.unix_seconds();
        back += usize::from(last.is_some_and(|last| time < last - 80_000));
        last = Some(time);
    }
    ensure!(back >= 2, "the times go back {back} times by a day");
    let clocks = records.iter().filter(|record| record["kind"] == "clock");
    let monotone: Vec<u64> = clocks.filter_map(|record| record["mono"].as_u64()).collect();
    ensure!(monotone.len() == 4 && monotone.is_sorted(), "{monotone:?}");
    Ok(())
}

#[test]
fn a_clock_set_back_and_forward_by_a_day_leaves_the_ledger_in_order_and_proved_and_what_was_revoked_ended()
-> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let hand = Hand::new()?;
    let options = Options {
        authorization: Some("observe"),
        under: Some(hand.under()?),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)?;
    let key = gateway.public_key()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let [kept, revoked, unseen] = [
        gateway.sign_in("alice")?,
        gateway.sign_in("alice")?,
        gateway.sign_in("alice")?,
    ];
    ensure!(read(&gateway, &revoked.token)?.0 == 200);
    gateway.revoke(&revoked.handle)?;
    let mut receipts = vec![served(&gateway, &alice, &kept.token)?];
    // A token that was verified before goes on until it expires; one that was not is from the future.
    let wrong = [
        ("-1d", -DAY, 200, "issued%20in%20the%20future"),
        ("+1d", DAY, 401, "has%20expired"),
    ];
    for (number, (offset, by, status, why)) in wrong.into_iter().enumerate() {
        hand.set(offset)?;
        let stepped = steps(&gateway, number * 2 + 1)?;
        ensure!((stepped[number * 2] - by).abs() < 2_000, "{stepped:?}");
        let statuses = [&kept, &revoked, &unseen].map(|by| read(&gateway, &by.token).map(|(status, _)| status));
        let [of_kept, of_revoked, of_unseen] = statuses;
        let statuses = [of_kept?, of_revoked?, of_unseen?];
        ensure!(statuses == [status, 401, 401], "{offset}: {statuses:?}");
        let refused = format!("{:#}", gateway.sign_in("bob").unwrap_err());
        ensure!(refused.contains(why), "{refused}");
        let told = alice.types("gatescribe audit search")?;
        ensure!(told.code == 3 && told.stderr.contains("compare"), "{told}");
        ensure!(checked_again(&gateway)? < 0.5, "{}", gateway.log());
        hand.set("+0")?;
        let stepped = steps(&gateway, number * 2 + 2)?;
        ensure!((stepped[number * 2 + 1] + by).abs() < 2_000, "{stepped:?}");
        // All is as before at once, and nothing that was ended lives again.
        ensure!(read(&gateway, &revoked.token)?.0 == 401);
        ensure!(gateway.renew(&revoked.handle, "bench").is_err());
        receipts.push(served(&gateway, &alice, &kept.token)?);
        ensure!(read(&gateway, &gateway.sign_in("bob")?.token)?.0 == 200);
    }
    ensure!(checked_again(&gateway)? < 0.5, "{}", gateway.log());
    gateway.stop()?;
    is_in_order(&gateway)?;
    let dir = gateway.ledger();
    let dir = dir.to_str().context("a path in UTF-8")?;
    for receipt in &receipts {
        let file = hand.folder().write("read.tlog-proof", receipt)?;
        let file = file.to_str().context("a path in UTF-8")?;
        // Each is also a checkpoint that somebody has kept.
        for line in [
            vec!["verify", file, "--key", &key],
            vec!["verify", dir, "--key", &key, "--remembered", file],
        ] {
            let proved = ledger(&line)?;
            ensure!(proved.code == 0, "{line:?}: {proved}");
        }
    }
    Ok(())
}
