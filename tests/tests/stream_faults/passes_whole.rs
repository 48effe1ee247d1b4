//! What has to pass as it is, and be kept, whatever a client speaks: every subprotocol, control frames, fragments of a server,
//! WebSockets behind a proxy subresource, and a 101 that is the cluster's.

use std::io::Read as _;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::channels::{BINARY, CLOSE, CONTINUATION, EXIT, LAST, PING, PONG, TEXT, of_client, of_server, typed};
use tests::fake::Then;
use tests::person::Person;
use tests::records::find;
use tests::upgraded::{ACCEPT, Switch, Upgraded};
use tests::wait::{PATIENCE, try_until};

use super::stage::{SPDY, Stage, V5, exec_target, part};

/// The text of a session's recording, as an auditor takes it away.
fn exported(auditor: &Person<'_>, id: &str) -> anyhow::Result<String> {
    let said = try_until("the recording is found", PATIENCE, || {
        auditor.ok(&format!("gatescribe session export {id} --format text"))
    })?;
    Ok(said.stdout)
}

#[test]
fn h_13_h_14_every_subprotocol_of_a_command_passes_and_is_recorded() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let carol = Person::signed_in(&stage.gateway, "carol")?;
    for (number, (protocol, is_base64)) in [
        ("", false),
        ("channel.k8s.io", false),
        ("base64.channel.k8s.io", true),
        ("v4.channel.k8s.io", false),
        ("v4.base64.channel.k8s.io", true),
        ("v5.channel.k8s.io", false),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("line-of-{number}");
        let mut client = stage.exec(&format!("kept/p-{number}"), Switch::WebSocket(protocol), b"", Then::Cat)?;
        ensure!(
            client.field("sec-websocket-protocol").unwrap_or_default() == protocol,
            "{}",
            client.head
        );
        client.write(&typed(is_base64, 0, line.as_bytes()))?;
        let (kind, payload) = tests::channels::on_channel(is_base64, 1, line.as_bytes());
        let back = client.frame()?;
        assert_eq!((back.first, &back.payload), (LAST | kind, &payload), "{protocol}");
        client.write(&typed(is_base64, 0, EXIT))?;
        client.rest()?;
        let id = client.id()?;
        drop(client);
        let end = stage.end_of(&id)?;
        assert_eq!(end["outcome"]["end"], "answered", "{protocol}: {end}");
        if protocol.starts_with('v') {
            assert_eq!(end["outcome"]["exit_code"], 0, "{protocol}: {end}");
        } else {
            assert_eq!(end["outcome"]["exit_code"], Value::Null, "{protocol} says none: {end}");
        }
        let text = exported(&carol, &id)?;
        assert!(text.contains(&line), "{protocol}: {text}");
    }
    Ok(())
}

/// A stream protocol of tomorrow: where it has to be recorded not a byte of it passes, elsewhere all of them do.
#[test]
fn h_14_a_command_in_an_unknown_protocol_never_passes_unrecorded() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    for (number, switch) in [
        Switch::Spdy("v9.channel.k8s.io"),
        Switch::WebSocket("v9.channel.k8s.io"),
    ]
    .into_iter()
    .enumerate()
    {
        let place = format!("kept/v9-{number}");
        let mut client = stage.exec(&place, switch, b"a secret", Then::Listen)?;
        // It may be over before this arrives.
        let _ = client.write(b"a command");
        assert!(!String::from_utf8_lossy(&client.rest()?).contains("secret"));
        let end = stage.end_of(&client.id()?)?;
        let why = "ended by the gateway: what passes cannot be recorded: its protocol is not known";
        assert_eq!(
            (&end["outcome"]["end"], &end["outcome"]["why"]),
            (&"ended".into(), &why.into()),
            "{end}"
        );
        stage.upstream_is_over(&place)?;
        assert_eq!(stage.came(&place), b"", "it reached the pod");

        let place = format!("free/v9-{number}");
        let mut client = stage.exec(&place, switch, b"said", Then::Listen)?;
        client.write(b"a command")?;
        let mut said = [0; 4];
        client.read_exact(&mut said)?;
        assert_eq!(&said, b"said");
        try_until("the command arrives", PATIENCE, || {
            ensure!(stage.came(&place) == b"a command", "not yet");
            Ok(())
        })?;
        neighbour.echoes()?;
    }
    neighbour.leaves(&stage.gateway)
}

#[test]
fn h_12_h_15_control_frames_and_fragments_pass_as_they_came_and_none_is_added() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let carol = Person::signed_in(&stage.gateway, "carol")?;
    let down = [
        of_server(LAST | PING, b"are you there?"),
        of_server(BINARY, b"\x01one mess"),
        of_server(LAST | PONG, b""),
        of_server(CONTINUATION, b"age in"),
        of_server(LAST | PING, b""),
        of_server(LAST | CONTINUATION, b" pieces\n"),
    ]
    .concat();
    let up = [
        of_client(LAST | PONG, b"are you there?"),
        of_client(LAST | PING, b"and you?"),
        typed(false, 0, b"typed"),
        typed(false, 4, br#"{"Width":80,"Height":24}"#),
    ]
    .concat();
    let mut client = stage.exec("kept/frames", V5, &down, Then::Listen)?;
    let mut said = vec![0; down.len()];
    client.read_exact(&mut said)?;
    assert!(said == down, "what the cluster said was changed");
    // One byte at a time: where a record ends means nothing.
    for byte in &up {
        client.write(&[*byte])?;
    }
    // `came` has it raw.
    try_until("all of it arrives", PATIENCE, || {
        ensure!(stage.came("kept/frames").len() >= up.len(), "not yet");
        Ok(())
    })?;
    let stream = &mut client.stream;
    stream.conn.send_close_notify();
    stream.conn.complete_io(&mut stream.sock)?;
    stream.sock.shutdown(std::net::Shutdown::Write)?;
    assert_eq!(client.rest()?, b"", "nothing was added for the person");
    stage.upstream_is_over("kept/frames")?;
    assert!(
        stage.came("kept/frames") == up,
        "nothing was added or changed for the pod"
    );
    let id = client.id()?;
    stage.end_of(&id)?;
    let text = exported(&carol, &id)?;
    assert!(text.contains("one message in pieces\n"), "{text}");
    Ok(())
}

/// A terminal whose size nobody ever tells: what it shows is recorded, and passes at once.
#[test]
fn h_17_output_before_a_size_that_never_comes_is_recorded() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let carol = Person::signed_in(&stage.gateway, "carol")?;
    let target = format!("{}&tty=true", exec_target("bench", "kept/tty"));
    stage
        .fake
        .answer_upgrades_of(&part("kept/tty"), &V5.granted(), Then::Cat);
    let mut client = Upgraded::ask(&stage.gateway, &stage.alice.token, &target, V5, b"")?;
    client.write(&typed(false, 0, b"shown"))?;
    assert_eq!(client.frame()?.payload, b"\x01shown");
    let id = client.id()?;
    // While the session goes on and nothing else passes: what was shown is on the disk soon.
    let path = stage.gateway.file("data/recordings").join(format!("{id}.rec"));
    try_until("what was shown is sealed", PATIENCE, || {
        let survey = recording::Survey::of(&path, &[])?;
        ensure!(survey.root.chunks >= 2, "{survey:?}");
        Ok(())
    })?;
    client.write(&typed(false, 0, EXIT))?;
    client.rest()?;
    drop(client);
    let end = stage.end_of(&id)?;
    assert_eq!(end["outcome"]["exit_code"], 0, "{end}");
    let text = exported(&carol, &id)?;
    assert!(text.contains("shown"), "{text}");
    let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?;
    let shown: Value = serde_json::from_str(&shown.stdout)?;
    assert_eq!(shown["recording"]["head"]["terminal"], true, "{shown}");
    Ok(())
}

/// WebSockets to whatever listens behind a pod, a service or a node are sessions as exec is: entered, recorded, ended.
#[test]
fn h_21_a_websocket_behind_a_proxy_subresource_is_entered_and_recorded() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let mut neighbour = stage.neighbour()?;
    let carol = stage.gateway.sign_in("carol")?;
    for path in [
        "/api/v1/namespaces/kept/pods/web:80/proxy/socket",
        "/api/v1/namespaces/kept/services/web:80/proxy/socket",
        "/api/v1/nodes/node-1/proxy/socket",
    ] {
        let target = format!("/clusters/bench{path}");
        let switch = Switch::WebSocket("chat");
        stage.fake.answer_upgrades_of(path, &switch.granted(), Then::Cat);
        let refused = Upgraded::ask(&stage.gateway, &carol.token, &target, switch, b"")?;
        assert!(refused.head.starts_with("HTTP/1.1 403 "), "{path}: {}", refused.head);
        let mut client = Upgraded::ask(&stage.gateway, &stage.alice.token, &target, switch, b"")?;
        assert!(client.is_granted(), "{path}: {}", client.head);
        client.write(&of_client(LAST | TEXT, b"hello"))?;
        assert_eq!(client.frame()?.payload, b"iello", "as the stand-in answers");
        let id = client.id()?;
        drop(client);
        let end = stage.end_of(&id)?;
        let records = stage.gateway.records()?;
        let open = records
            .iter()
            .find(|record| record["seq"] == end["pair"])
            .context("its beginning")?;
        assert_eq!(
            (&open["kind"], &open["req"]["action"]),
            (&"open".into(), &"proxy".into()),
            "{open}"
        );
        assert!(open["recording"]["chunks"].as_u64() >= Some(1), "{open}");
        assert!(end["recording"]["frames"].as_u64() >= Some(3), "{end}");
        neighbour.echoes()?;
    }
    neighbour.leaves(&stage.gateway)?;
    stage.each_session_has_one_end()?;
    Ok(())
}

/// A kubelet's own exec is a command like any other: recorded with its words, its output and its end, by the rules of every
/// namespace. A stand-in, since the API server drops the query of an upgrade that it passes to a node.
#[test]
fn h_21_a_command_that_a_kubelet_is_asked_for_is_recorded_as_a_command() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let place = "/api/v1/nodes/node-1/proxy/exec/kept/web/main";
    stage.fake.answer_upgrades_of(place, &V5.granted(), Then::Cat);
    let target = format!("/clusters/bench{place}?command=cat&command=-u&input=1&output=1&error=1");
    let mut client = Upgraded::ask(&stage.gateway, &stage.alice.token, &target, V5, b"")?;
    ensure!(client.is_granted(), "{}", client.head);
    client.write(&typed(false, 0, b"inside"))?;
    assert_eq!(client.frame()?.payload, b"\x01inside");
    client.write(&typed(false, 0, EXIT))?;
    client.rest()?;
    let id = client.id()?;
    drop(client);
    let end = stage.end_of(&id)?;
    assert_eq!(end["outcome"]["exit_code"], 0, "{end}");
    let records = stage.gateway.records()?;
    let open = find(&records, "open", &id)?;
    let rules = open["decision"]["rules"].to_string();
    for words in ["kept-is-recorded", "the call may reach into every namespace"] {
        assert!(rules.contains(words), "no `{words}`: {open}");
    }
    let carol = Person::signed_in(&stage.gateway, "carol")?;
    let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?.json()?;
    let head = &shown["recording"]["head"];
    assert_eq!(head["command"], serde_json::json!(["cat", "-u"]), "{shown}");
    assert_eq!(head["kind"], "exec", "{shown}");
    assert!(exported(&carol, &id)?.contains("inside"), "{shown}");
    Ok(())
}

/// Whoever offers to switch and is answered plainly gets nothing of it where a recording is owed; and what a kubelet runs without
/// ever switching is not even asked for, however it is spelled.
#[test]
fn h_21_an_offer_to_switch_is_no_way_around_a_recording() -> anyhow::Result<()> {
    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    let stage = Stage::new()?;
    for (path, status) in [
        ("/api/v1/namespaces/kept/services/web:80/proxy/page", "502"),
        ("/api/v1/nodes/node-1/proxy/run/kept/web/main", "403"),
        ("/api/v1/nodes/node-1/proxy/x/..//run/kept/web/main", "403"),
    ] {
        stage.fake.answer_upgrades_of(path, PLAIN, Then::Cat);
        let target = format!("/clusters/bench{path}");
        let asked = Upgraded::ask(
            &stage.gateway,
            &stage.alice.token,
            &target,
            Switch::WebSocket("chat"),
            b"",
        )?;
        assert!(
            asked.head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {}",
            asked.head
        );
        assert!(!asked.head.contains("secret"), "{path}: {}", asked.head);
    }
    stage.each_session_has_one_end()?;
    Ok(())
}

/// Our 101 waits for the cluster's, and says what that one chose.
#[test]
fn h_04_the_switch_is_answered_when_the_cluster_has_answered_and_with_its_words() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let offered = "v5.channel.k8s.io, v4.channel.k8s.io, channel.k8s.io";
    let chosen = Switch::WebSocket("v4.channel.k8s.io");
    stage
        .fake
        .answer_upgrades_of(&part("kept/chooses"), &chosen.granted(), Then::Cat);
    stage.fake.hold();
    let target = exec_target("bench", "kept/chooses");
    let offers = Switch::WebSocket(offered);
    let mut asked = Upgraded::begin(&stage.gateway, &stage.alice.token, &target, offers, b"")?;
    try_until("the request is with the cluster", PATIENCE, || {
        ensure!(stage.fake.reads() == 1, "not yet");
        Ok(())
    })?;
    asked.stream.sock.set_nonblocking(true)?;
    let early = asked.stream.read(&mut [0]);
    asked.stream.sock.set_nonblocking(false)?;
    let is_silent = early
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(is_silent, "answered before the cluster: {early:?}");
    stage.fake.release();
    let client = asked.answer()?;
    ensure!(client.is_granted(), "{}", client.head);
    assert_eq!(
        client.field("sec-websocket-protocol"),
        Some("v4.channel.k8s.io"),
        "{}",
        client.head
    );
    assert_eq!(client.field("sec-websocket-accept"), Some(ACCEPT), "{}", client.head);
    Ok(())
}

/// What was asked for may have run, though nobody was there any more when the cluster began it.
#[test]
fn promise_4_what_the_cluster_begins_for_a_client_that_has_left_is_recorded() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let place = "kept/alone";
    stage.fake.answer_upgrades_of(&part(place), &V5.granted(), Then::Cat);
    stage.fake.hold();
    let target = exec_target("bench", place);
    let asked = Upgraded::begin(&stage.gateway, &stage.alice.token, &target, V5, b"")?;
    try_until("the request is with the cluster", PATIENCE, || {
        ensure!(stage.fake.reads() == 1, "not yet");
        Ok(())
    })?;
    drop(asked);
    stage.fake.release();
    let records = stage.gateway.records_with("its end", |records| {
        records.iter().any(|record| record["kind"] == "close")
    })?;
    let end = records
        .iter()
        .find(|record| record["kind"] == "close")
        .context("its end")?;
    assert_eq!(end["outcome"]["end"], "clientGone", "{end}");
    assert!(end["recording"]["chunks"].as_u64() >= Some(1), "{end}");
    let id = end["id"].as_str().context("an id")?;
    let file = stage.gateway.file("data/recordings").join(format!("{id}.rec"));
    assert_eq!(
        end["recording"]["bytes"].as_u64(),
        Some(std::fs::metadata(file)?.len()),
        "{end}"
    );
    let shown = Person::signed_in(&stage.gateway, "carol")?.ok(&format!("gatescribe session show {id}"))?;
    assert!(shown.stdout.contains("whole, as the ledger says"), "{shown}");
    stage.each_session_has_one_end()?;
    Ok(())
}

/// The code and the words of a close are the sides' own (RFC 6455 §5.5.1), recorded or not.
#[test]
fn h_10_the_code_of_a_close_passes_as_it_was_said() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    for place in ["kept/codes", "free/codes"] {
        let close = [&1011_u16.to_be_bytes()[..], b"the node is going"].concat();
        let from_client = of_client(LAST | CLOSE, &close);
        let glued = of_server(LAST | CLOSE, &close);
        let mut client = stage.exec(place, V5, &glued, Then::Listen)?;
        let frame = client.frame()?;
        assert_eq!((frame.kind(), &frame.payload), (CLOSE, &close), "{place}");
        client.write(&from_client)?;
        try_until("the client's own close arrives", PATIENCE, || {
            ensure!(stage.came(place) == from_client, "{:?}", stage.came(place));
            Ok(())
        })?;
        let id = client.id()?;
        drop(client);
        stage.end_of(&id)?;
    }
    stage.each_session_has_one_end()?;
    Ok(())
}

/// Over SPDY, too, a pod is entered whatever the method; that both ask `create` stands in `entering`.
#[test]
fn spdy_is_entered_by_get_as_by_post() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    for method in ["GET", "POST"] {
        let place = format!("kept/by-{}", method.to_lowercase());
        stage
            .fake
            .answer_upgrades_of(&part(&place), &SPDY.granted(), Then::Listen);
        let target = exec_target("bench", &place);
        let client = Upgraded::begin_by(method, &stage.gateway, &stage.alice.token, &target, SPDY, b"")?.answer()?;
        ensure!(client.is_granted(), "{method}: {}", client.head);
        let id = client.id()?;
        drop(client);
        stage.end_of(&id)?;
        let records = stage.gateway.records()?;
        let open = records
            .iter()
            .find(|record| record["kind"] == "open" && record["id"] == *id)
            .context("its beginning")?;
        assert_eq!(
            (&open["req"]["method"], &open["req"]["action"]),
            (&method.into(), &"exec".into()),
            "{open}"
        );
        assert!(open["recording"].is_object(), "{open}");
    }
    Ok(())
}
