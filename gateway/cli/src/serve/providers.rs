//! `gatescribe idp test --config FILE`: asks every configured issuer what the gateway would ask it, by the same code and
//! under the same limits, and says what came. With a token file it also says whom that token would be. Nothing is served,
//! recorded or kept.

use std::path::Path;

use console::GatewayUrl;
use feeds::issuers::IssuerSource;
use model::time::Timestamp;
use oidc::verify::Explanation;
use oidc::{Answer, Discovery, KeySet, Purpose, TokenError, Unverified};

use super::account_issuers::Known;
use super::identity;
use crate::config::{self, Config};
use crate::terminal::{data_and, fail};
use crate::{Exit, config_command};

/// More than the leeway that the gateway forgives at most.
const SKEW_TOLD: i64 = 60;

/// Runs the command.
pub(crate) fn command(file: &Path, only: Option<&str>, token: Option<&Path>) -> Exit {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(error) => return config_command::explain(error),
    };
    let done = super::runtime().and_then(|runtime| runtime.block_on(look(&config, only, token)));
    match done {
        Ok((text, exit)) => data_and(&text, exit),
        Err(error) => {
            fail(&error);
            Exit::Fault
        }
    }
}

async fn look(config: &Config, only: Option<&str>, token: Option<&Path>) -> anyhow::Result<(String, Exit)> {
    let token = token.map(std::fs::read_to_string).transpose()?;
    let token = token.as_deref().map(str::trim);
    let sources = identity::sources(config, &GatewayUrl::parse(&config.url)?, &Known::said(&config.clusters))?.feed;
    let is_wanted =
        |source: &&IssuerSource| only.is_none_or(|name| [source.issuer.name(), source.issuer.url()].contains(&name));
    let wanted: Vec<&IssuerSource> = sources.iter().filter(is_wanted).collect();
    anyhow::ensure!(
        !wanted.is_empty(),
        "no issuer has the name or URL `{}`; configured are: {}",
        only.unwrap_or_default(),
        sources
            .iter()
            .map(|source| source.issuer.name())
            .collect::<Vec<_>>()
            .join(", ")
    );
    let (mut text, mut exit) = (String::new(), Exit::Done);
    for source in &wanted {
        let report = ask(source, token, super::now()).await;
        text.push_str(&report.text);
        exit = worse(exit, report.exit);
    }
    if let Some(token) = token
        && let Some(why) = foreign(&wanted, token)
    {
        text.push_str(&line("token", false, &why));
        exit = worse(exit, Exit::No);
    }
    Ok((text, exit))
}

/// A silent issuer weighs more than a bad answer: it may be all that is wrong.
fn worse(a: Exit, b: Exit) -> Exit {
    if [a, b].contains(&Exit::Unreachable) {
        Exit::Unreachable
    } else if [a, b].contains(&Exit::No) {
        Exit::No
    } else {
        Exit::Done
    }
}

/// Why no issuer that was looked at judges the token.
fn foreign(sources: &[&IssuerSource], token: &str) -> Option<String> {
    let read = Unverified::parse(token).and_then(|token| token.issuer().map(str::to_owned));
    match read {
        Err(error) => Some(error.to_string()),
        Ok(issuer) if sources.iter().any(|source| source.issuer.url() == issuer) => None,
        Ok(_) => Some(TokenError::UnknownIssuer.to_string()),
    }
}

struct Report {
    text: String,
    exit: Exit,
}

impl Report {
    fn good(&mut self, what: &str, words: &str) {
        self.text.push_str(&line(what, true, words));
    }

    fn bad(mut self, what: &str, words: &str, exit: Exit) -> Self {
        self.text.push_str(&line(what, false, words));
        self.exit = exit;
        self
    }
}

fn line(what: &str, good: bool, words: &str) -> String {
    format!("  {} {what:<10} {words}\n", if good { '✔' } else { '✘' })
}

/// What a person should know about an issuer, as far as it can be learnt without a token.
pub(super) async fn trouble(source: &IssuerSource) -> Option<String> {
    let report = ask(source, None, super::now()).await;
    let bad = report
        .text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix('✘'));
    let words: Vec<String> = bad
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    (report.exit != Exit::Done).then(|| words.join("; "))
}

async fn ask(source: &IssuerSource, token: Option<&str>, now: Timestamp) -> Report {
    let issuer = &source.issuer;
    let mut report = Report {
        text: format!("{} ({})\n", issuer.name(), issuer.url()),
        exit: Exit::Done,
    };
    let response = match (source.fetch)(Discovery::request(issuer)).await {
        Ok(response) => response,
        Err(why) => {
            return report.bad(
                "discovery",
                &format!("{}: {why}", issuer.discovery_uri()),
                Exit::Unreachable,
            );
        }
    };
    if let Some(ahead) = seconds_ahead(response.headers(), now)
        && ahead.abs() > SKEW_TOLD
    {
        let where_to = if ahead > 0 { "ahead of" } else { "behind" };
        let words = format!(
            "the provider's clock is {} s {where_to} this machine's; tokens will be refused",
            ahead.abs()
        );
        report = report.bad("clock", &words, Exit::No);
    }
    let discovery = match Discovery::read(issuer, &answer(&response)) {
        Ok(discovery) => discovery,
        Err(error) => return report.bad("discovery", &error.to_string(), Exit::No),
    };
    report.good("discovery", &issuer.discovery_uri().to_string());
    let response = match (source.fetch)(discovery.keys_request()).await {
        Ok(response) => response,
        Err(why) => return report.bad("keys", &format!("{}: {why}", discovery.jwks), Exit::Unreachable),
    };
    let keys = match KeySet::from_answer(&answer(&response)) {
        Ok(keys) => keys,
        Err(error) => return report.bad("keys", &format!("{}: {error}", discovery.jwks), Exit::No),
    };
    report.good("keys", &format!("{} usable at {}", keys.len(), discovery.jwks));
    for alarm in keys.alarms() {
        report.text.push_str(&format!("    ! {alarm}\n"));
    }
    match token.map(Unverified::parse) {
        Some(Ok(token)) if token.issuer().is_ok_and(|named| named == issuer.url()) => {
            judge(report, source, &token, &keys, now)
        }
        _ => report,
    }
}

fn judge(mut report: Report, source: &IssuerSource, token: &Unverified<'_>, keys: &KeySet, now: Timestamp) -> Report {
    let verified = match source.issuer.verify(token, keys, now, Purpose::Bearer) {
        Ok(verified) => verified,
        Err(error) => return report.bad("token", &error.to_string(), Exit::No),
    };
    report.good("token", &format!("good until {}", verified.expires_at));
    let Explanation {
        username,
        groups,
        dropped_groups,
        ..
    } = source.issuer.explain(&verified.claims);
    report.good("user name", &format!("{} (from {username})", verified.username));
    let from = groups.map_or_else(
        || "nothing is mapped to groups".to_owned(),
        |from| format!("from {from}"),
    );
    let named = if verified.groups.is_empty() {
        "none".to_owned()
    } else {
        verified.groups.join(", ")
    };
    report.good("groups", &format!("{named} ({from})"));
    for dropped in dropped_groups {
        report.text.push_str(&format!(
            "    ! `{}` does not count: {}\n",
            dropped.group, dropped.reason
        ));
    }
    for (name, value) in verified.claims.iter() {
        report.text.push_str(&format!("      {name} = {value}\n"));
    }
    report
}

fn answer(response: &http::Response<bytes::Bytes>) -> Answer<'_> {
    Answer {
        status: response.status(),
        headers: response.headers(),
        body: response.body(),
    }
}

/// By how much the provider's clock is ahead of ours.
fn seconds_ahead(headers: &http::HeaderMap, now: Timestamp) -> Option<i64> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    let there = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    Some(there - now.unix_seconds())
}
