//! The programs by which a service verifies what it is told, as they stand in the book: they take good assertions and no bad ones.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use model::service::ServiceName;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use oidc::gateway::assertion::{
    Actor, AssertedGroups, AssertedIdentity, AssertionClaims, AssertionKey, AssertionMint, Chain,
};
use oidc::gateway::{GatewayClaims, Mint, ProviderIdentity, SigningKey};
use secrecy::ExposeSecret as _;
use tests::counterparts::repository;

const URL: &str = "https://gate.example";

/// The fenced block of a language on the page.
fn program(language: &str) -> anyhow::Result<String> {
    let page = std::fs::read_to_string(repository().join("docs/how-to/verify-assertions.md"))?;
    let (_, rest) = page
        .split_once(&format!("```{language}\n"))
        .context("no such program")?;
    let (program, _) = rest.split_once("\n```\n").context("it does not end")?;
    Ok(program.to_owned())
}

fn now() -> anyhow::Result<Timestamp> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Timestamp::from_unix_seconds(i64::try_from(since.as_secs())?))
}

fn claims(service: &str) -> anyhow::Result<AssertionClaims> {
    let cart = Actor {
        workload: SubjectId::from_digest([2; 16]),
        username: "system:serviceaccount:shop:cart".to_owned(),
        service: ServiceName::new("cart")?,
    };
    Ok(AssertionClaims {
        audience: ServiceName::new(service)?,
        identity: AssertedIdentity {
            id: SubjectId::from_digest([1; 16]),
            kind: SubjectKind::Person,
            issuer: "https://idp.example".to_owned(),
            subject: "1".to_owned(),
            username: "alice".to_owned(),
            email: None,
            groups: AssertedGroups::of(&["dev"]),
        },
        session: "s".to_owned(),
        token_id: "t".to_owned(),
        auth_time: None,
        acr: None,
        chain: Chain::new(vec![cart])?,
        ends: Timestamp::MAX,
    })
}

/// One token and whether a service called `stock` takes it.
struct Case(&'static str, String, bool);

fn cases(keys: &Path) -> anyhow::Result<Vec<Case>> {
    let (token_key, other) = (SigningKey::generate()?.0, SigningKey::generate()?.0);
    let (own, foreign) = (AssertionKey::of(&token_key)?, AssertionKey::of(&other)?);
    std::fs::write(keys, AssertionKey::render_jwks([&foreign, &own]))?;
    let now = now()?;
    let signed = |mint: &AssertionMint, service: &str, at: Timestamp| -> anyhow::Result<String> {
        Ok(mint.sign(&claims(service)?, at)?.token.expose_secret().to_owned())
    };
    let ended = now.minus(Duration::from_secs(121));
    let stranger = AssertionMint::new(URL, AssertionKey::of(&SigningKey::generate()?.0)?);
    let elsewhere = AssertionMint::new("https://other.example", foreign);
    let sign_in = Mint::new(token_key).sign(&GatewayClaims {
        issuer: URL.to_owned(),
        audience: "service:stock".to_owned(),
        subject: SubjectId::from_digest([1; 16]).to_string(),
        session: "s".to_owned(),
        token_id: "t".to_owned(),
        issued_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
        auth_time: now,
        acr: None,
        identity: ProviderIdentity {
            iss: "https://idp.example".to_owned(),
            sub: "1".to_owned(),
            username: "alice".to_owned(),
            groups: Vec::new(),
            uid: None,
            email: None,
            extra: Default::default(),
        },
    })?;
    let mint = AssertionMint::new(URL, own);
    let good = signed(&mint, "stock", now)?;
    let (text, signature) = good.rsplit_once('.').context("three parts")?;
    let (header, _) = text.split_once('.').context("three parts")?;
    let another = signed(&mint, "till", now)?;
    let payload = another.split('.').nth(1).context("three parts")?;
    Ok(vec![
        Case("for another service", another.clone(), false),
        Case("expired", signed(&mint, "stock", ended)?, false),
        Case(
            "of a key that is not published",
            signed(&stranger, "stock", now)?,
            false,
        ),
        Case("of another gateway", signed(&elsewhere, "stock", now)?, false),
        Case("a sign-in token", sign_in, false),
        Case("changed", format!("{header}.{payload}.{signature}"), false),
        Case("without a signature", format!("{text}."), false),
        Case("cut", text.to_owned(), false),
        Case("good", good.clone(), true),
    ])
}

fn judged_by(language: &str, file: &str, run: &[&str]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (keys, written) = (folder.path().join("keys.json"), folder.path().join(file));
    std::fs::write(&written, program(language)?)?;
    for Case(what, token, is_good) in cases(&keys)? {
        let (first, rest) = run.split_first().context("a program")?;
        let mut child = Command::new(first)
            .args(rest)
            .arg(&written)
            .arg(&keys)
            .args([URL, "stock"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        writeln!(child.stdin.take().context("its input")?, "{token}")?;
        let output = child.wait_with_output()?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(output.status.success() == is_good, "{language}, {what}: {out}{err}");
        ensure!(
            out.contains("alice") == is_good && (!is_good || (out.contains("dev") && out.contains("true"))),
            "{language}, {what}: {out}{err}"
        );
    }
    Ok(())
}

/// Two implementations that share nothing with ours.
#[test]
fn the_programs_of_the_book_take_what_is_asserted_to_a_service_and_nothing_else() -> anyhow::Result<()> {
    judged_by("js", "verify.mjs", &["node"])?;
    judged_by("go", "main.go", &["go", "run"])
}
