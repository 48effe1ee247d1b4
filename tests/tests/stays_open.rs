//! What people have open stays open through all that an operator changes meanwhile, and not a byte of it is lost: a reload of the
//! configuration, another certificate, another key of the provider, other credentials at the API server, and the expiry of the
//! token that it was begun with. Only when the gateway stops it ends, and the person reads that.
//!
//! Real kubectl, the real API server, a node whose pods are real processes. What a rotation of the gateway's own token key changes, and
//! what not, is a story of its own.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use oidc::gateway::SigningKey;
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::measure::live::{Kind, Live, Place, says_back};
use tests::open::{Open, brief, issuers_key, own_credentials, reload, replace};
use tests::pods::{dev_does_all, namespace, shell};
use tests::wait::{PATIENCE, try_until};

#[test]
fn what_is_open_outlives_reload_rotation_and_expiry_byte_for_byte_and_ends_when_the_gateway_stops() -> anyhow::Result<()>
{
    let (cluster, mut gateway) = brief()?;
    let mut open = Open::begin(&cluster, &gateway)?;
    reload(&gateway, 0)?;
    open.all_live("after a reload", &cluster, &gateway)?;
    issuers_key(&gateway)?;
    open.all_live("after a rotation of the provider's key", &cluster, &gateway)?;
    open.tokens_have_expired(&gateway)?;
    open.all_live("after the expiry of its token", &cluster, &gateway)?;
    own_credentials(&cluster, &gateway)?;
    open.all_live("after a rotation of the gateway's credentials", &cluster, &gateway)?;
    let stood = open.stop(&mut gateway)?;
    assert_eq!((stood.streams, stood.talks, stood.words), (10, 10, 5));
    Ok(())
}

/// A new key of the gateway's tokens, as `openssl` writes one or as the gateway itself does.
fn token_key(gateway: &Gateway, name: &str, is_text: bool) -> anyhow::Result<(String, String)> {
    let (key, bytes) = SigningKey::generate()?;
    let path = gateway.file(name);
    if is_text {
        let inner = base64::engine::general_purpose::STANDARD.encode(&bytes);
        std::fs::write(
            &path,
            format!("-----BEGIN PRIVATE KEY-----\n{inner}\n-----END PRIVATE KEY-----\n"),
        )?;
    } else {
        std::fs::write(&path, bytes)?;
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok((path.display().to_string(), key.kid().to_owned()))
}

/// Lists these keys in the configuration, without a signal: the gateway compares the file.
fn list_token_keys(gateway: &Gateway, files: &[&str]) -> anyhow::Result<()> {
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(gateway.config())?)?;
    config["identity"]["tokenKeyFiles"] = json!(files);
    replace(gateway, "gatescribe.yaml", &config.to_string())
}

/// The names of the keys that the gateway publishes; the first one signs.
fn published(gateway: &Gateway) -> anyhow::Result<Vec<String>> {
    let page = Browser::default().request("GET", &format!("{}/jwks", gateway.url), "")?;
    let keys: Value = serde_json::from_str(&page.body)?;
    let names = keys["keys"].as_array().into_iter().flatten();
    Ok(names.filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect())
}

fn are_published(gateway: &Gateway, names: &[&String]) -> anyhow::Result<()> {
    try_until("the keys are in force", PATIENCE, || {
        let found = published(gateway)?;
        ensure!(
            found.iter().collect::<Vec<_>>() == names,
            "{found:?}\n{}",
            gateway.log()
        );
        Ok(())
    })
}

/// Which key signed a token.
fn signed_by(token: &str) -> anyhow::Result<String> {
    let header = token.split('.').next().context("no token")?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    Ok(header["kid"].as_str().context("no key's name")?.to_owned())
}

/// How a call with this token is answered: at the cluster, and at the gateway's own API with one for that.
fn answers(gateway: &Gateway, token: &str, api: &str) -> anyhow::Result<[(u16, String); 2]> {
    let bearer = format!("Bearer {token}");
    let at_cluster = gateway.client()?.get(
        "/clusters/bench/api/v1/namespaces/shop/configmaps",
        &[("Authorization", &bearer)],
    )?;
    let said = String::from_utf8_lossy(&at_cluster.body).into_owned();
    Ok([(at_cluster.status, said), of_api(gateway, api)?])
}

/// The list of sessions, asked of the gateway's own API.
fn of_api(gateway: &Gateway, token: &str) -> anyhow::Result<(u16, String)> {
    let host = gateway.url.strip_prefix("http://").context("plain http")?;
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "GET /api/v1/sessions HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("a status line")?;
    Ok((status.parse()?, answer))
}

const RETIRED: &str = "the token is signed with a key that is none of the gateway's any more; sign in again";

#[test]
fn a_rotated_token_key_counts_at_once_and_ends_nothing_that_is_open() -> anyhow::Result<()> {
    let world = [namespace("shop"), dev_does_all("shop"), shell("shop", "web")];
    let cluster = Cluster::with_pods(&world.concat())?;
    let mut gateway = Gateway::start(&cluster, &Options::default())?;
    let own = gateway
        .folder()
        .join("data/keys/gateway-token.p8")
        .display()
        .to_string();
    let first = published(&gateway)?;
    let [first] = first.as_slice() else {
        anyhow::bail!("{first:?}")
    };
    let old = gateway.sign_in("alice")?;
    let old_of_api = gateway.renew(&old.handle, "gatescribe-api")?;
    assert_eq!(
        (&signed_by(&old.token)?, &signed_by(&old_of_api.token)?),
        (first, first)
    );
    let place = Place {
        namespace: "shop",
        pod: "web",
        port: says_back()?,
    };
    let mut streams = Vec::new();
    for kind in Kind::ALL {
        streams.push(Live::open(&gateway, &old.token, kind, &place)?);
    }
    let mut all_live = |word: &str| -> anyhow::Result<()> {
        cluster.admin()?.ok(&["create", "configmap", word, "-n", "shop"])?;
        for stream in &mut streams {
            stream.lives(word)?;
        }
        Ok(())
    };
    all_live("with-the-first")?;
    let good = |token: &str, api: &str| -> anyhow::Result<()> {
        let answers = answers(&gateway, token, api)?;
        ensure!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        Ok(())
    };
    good(&old.token, &old_of_api.token)?;

    // Announced: published and accepted, and signs nothing yet.
    let (second_file, second) = token_key(&gateway, "second.pem", true)?;
    list_token_keys(&gateway, &[&own, &second_file])?;
    are_published(&gateway, &[first, &second])?;
    assert_eq!(&signed_by(&gateway.sign_in("alice")?.token)?, first);

    // It signs. Of the one before each token is good, and the sign-in goes on with the new one.
    list_token_keys(&gateway, &[&second_file, &own])?;
    are_published(&gateway, &[&second, first])?;
    let new = gateway.renew(&old_of_api.handle, "bench")?;
    let new_of_api = gateway.renew(&new.handle, "gatescribe-api")?;
    assert_eq!(
        (&signed_by(&new.token)?, &signed_by(&new_of_api.token)?),
        (&second, &second)
    );
    assert_eq!(signed_by(&gateway.sign_in("alice")?.token)?, second);
    good(&old.token, &old_of_api.token)?;
    good(&new.token, &new_of_api.token)?;
    all_live("with-both")?;

    // Taken away: from now on its tokens count for nothing, though they were verified a moment ago.
    list_token_keys(&gateway, &[&second_file])?;
    are_published(&gateway, &[&second])?;
    for (status, said) in answers(&gateway, &old.token, &old_of_api.token)? {
        assert!(status == 401 && said.contains(RETIRED), "{status}: {said}");
    }
    good(&new.token, &new_of_api.token)?;
    all_live("with-the-second")?;

    // One that others can read counts for nothing, and changes nothing.
    let (third_file, third) = token_key(&gateway, "third.p8", false)?;
    std::fs::set_permissions(&third_file, Permissions::from_mode(0o644))?;
    list_token_keys(&gateway, &[&third_file, &second_file])?;
    try_until("the list is refused", PATIENCE, || {
        let log = gateway.log();
        let told = log.contains("others can read") && log.contains("the old one stays in force");
        ensure!(told, "{log}");
        Ok(())
    })?;
    are_published(&gateway, &[&second])?;
    good(&new.token, &new_of_api.token)?;
    // Another content of the same files, at a signal.
    std::fs::set_permissions(&third_file, Permissions::from_mode(0o600))?;
    gateway.process().signal(Signal::SIGHUP)?;
    are_published(&gateway, &[&third, &second])?;
    good(&new.token, &new_of_api.token)?;
    all_live("with-the-third")?;

    let records = gateway.records()?;
    let notes: Vec<&str> = records
        .iter()
        .filter(|record| record["kind"] == "config")
        .filter_map(|record| record["note"].as_str())
        .filter(|note| note.starts_with("tokens are signed"))
        .collect();
    assert_eq!(
        notes,
        [
            format!("tokens are signed with key {first}, and accepted of {second}, too"),
            format!("tokens are signed with key {second}, and accepted of {first}, too"),
            format!("tokens are signed with key {second}, and no other one is accepted"),
            format!("tokens are signed with key {third}, and accepted of {second}, too"),
        ]
    );
    drop(streams);
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()?;
    let answers = answers(&gateway, &new.token, &new_of_api.token)?;
    assert!(
        answers.iter().all(|(status, _)| *status == 200),
        "after a restart: {answers:?}"
    );
    Ok(())
}
