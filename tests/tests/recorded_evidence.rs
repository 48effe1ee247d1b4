//! A pack of evidence of a real session that was recorded: the root that stands for its recording is in it, and whoever changes it is
//! found by the verifier and by the page (promise 5).

use std::fs;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::chromium::look;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Way, run};
use tests::person::Person;
use tests::pods::{kept, nowhere};
use tests::rules::entering;
use tests::wait::{PATIENCE, try_until};

#[test]
fn promise_5_the_root_of_a_recording_is_in_its_evidence_and_holds_in_the_verifier_and_in_the_page() -> anyhow::Result<()>
{
    let cluster = Cluster::with_pods(&[kept(), nowhere("kept")].concat())?;
    let place = "namespaces: [kept], verbs: [create], resources: [pods/exec]";
    let rules = entering("kept-is-recorded", place, "record: true");
    let gateway = Gateway::start(&cluster, &Options::ruled(rules))?;
    let key = gateway.public_key()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    let exec = alice.kubectl(
        Way::WebSocket,
        &["exec", "shell", "-n", "kept", "--", "sh", "-c", "echo packed-words"],
    )?;
    let said = run(exec, "", PATIENCE)?;
    ensure!(said.stdout.contains("packed-words"), "{said}");
    let session = try_until("the session has ended", PATIENCE, || {
        let mut found = carol.sessions("user:alice ns:kept")?;
        found.retain(|session| session["live"] == false && session["outcome"]["end"].is_string());
        found.pop().context("a session that ended")
    })?;
    let id = session["id"].as_str().context("an id")?;

    carol.ok(&format!("gatescribe evidence pack id:{id} --since 1h -o session.html"))?;
    let verify = |file: &str| carol.types(&format!("gatescribe evidence verify {file} --key {key} -o json"));
    let verified = verify("session.html")?;
    ensure!(verified.code == 0, "{verified}");
    let told = verified.json()?;
    let kept = &told["recordings"];
    assert_eq!(kept.as_array().map(Vec::len), Some(1), "{told}");
    // It is what the ledger says: the newest record of the session that names a root.
    let records = gateway.records()?;
    let of_it = |record: &&Value| record["id"] == id && record["recording"]["hash"].is_string();
    let newest = records.iter().rfind(of_it).context("a record with a root")?;
    assert_eq!(
        (&kept[0]["session"], &kept[0]["root"], &kept[0]["chunks"]),
        (&json!(id), &newest["recording"]["hash"], &newest["recording"]["chunks"]),
        "{told}"
    );
    let root = newest["recording"]["hash"].as_str().context("a root")?;
    ensure!(root.len() == 64 && root.bytes().any(|digit| digit != b'0'), "{root}");
    let words = carol.ok(&format!("gatescribe evidence verify session.html --key {key}"))?;
    assert!(
        words.stdout.contains(&format!("recording of {id}")) && words.stdout.contains(root),
        "{words}"
    );
    // That recording is the one that is kept: it is played whole, as the ledger says.
    let shown = carol.ok(&format!("gatescribe session show {id}"))?;
    assert!(shown.stdout.contains("whole, as the ledger says"), "{shown}");

    // Somebody puts another recording's root in its place.
    let text = fs::read_to_string(carol.folder().join("session.html"))?;
    let line = text
        .lines()
        .find(|line| {
            let leaf = line.split(' ').nth(2).and_then(|leaf| STANDARD.decode(leaf).ok());
            line.starts_with("record ") && leaf.is_some_and(|leaf| String::from_utf8_lossy(&leaf).contains(root))
        })
        .context("the record with the root")?;
    let mut parts: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let leaf = String::from_utf8(STANDARD.decode(&parts[2])?)?;
    let other = root.replacen(&root[..1], if root.starts_with('0') { "1" } else { "0" }, 1);
    parts[2] = STANDARD.encode(leaf.replace(root, &other));
    fs::write(
        carol.folder().join("other.html"),
        text.replacen(line, &parts.join(" "), 1),
    )?;
    let refused = verify("other.html")?;
    assert_eq!(refused.code, 8, "{refused}");
    let by_ledger = carol.types(&format!("gatescribe ledger verify other.html --key {key} -o json"))?;
    assert_eq!((by_ledger.code, by_ledger.stdout), (refused.code, refused.stdout));

    let page = |name: &str| json!({"url": format!("file://{}", carol.folder().join(name).display()), "types": key});
    let seen = look(&[page("session.html"), page("other.html")])?;
    let verdicts: Vec<&Value> = seen.iter().map(|page| &page["verdict"]).collect();
    assert_eq!(verdicts, [&json!("verified"), &json!("bad")], "{seen:#?}");
    for page in &seen {
        assert_eq!(
            (&page["elsewhere"], &page["complaints"]),
            (&json!([]), &json!([])),
            "{page:#}"
        );
    }
    let on_page = seen[0]["text"].as_str().context("text")?;
    for words in [id, root, "Recordings of sessions"] {
        assert!(on_page.contains(words), "no `{words}` in {on_page}");
    }
    Ok(())
}
