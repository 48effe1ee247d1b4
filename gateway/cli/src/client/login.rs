//! `gatescribe login`: discovery, sign-in, kubeconfig.

use std::path::PathBuf;

use clap::Args;
use console::GatewayUrl;
use model::time::Timestamp;

use super::gateway::{API, Discovery, discover, url_of};
use super::home::Home;
use super::http::{Client, Fingerprint, Trust, now};
use super::kubeconfig::{Entry, Kubeconfig, Written};
use super::program;
use super::session::{Held, block_on, gateway_of, in_seconds, refreshed, warn_of_clocks, with_clocks};
use super::signin::{Fresh, Surroundings, Way, Wish};
use super::store::Kept;
use super::trouble::Trouble;
use crate::Exit;
use crate::terminal::say;

/// What may be said besides the address.
#[derive(Args, Debug)]
pub(crate) struct LoginArguments {
    /// The gateway's address, for example gate.example.com.
    url: String,
    /// Sign in with a code that is typed in a browser elsewhere. Chosen by itself where there is no display.
    #[arg(long)]
    device: bool,
    /// Print the address to sign in at, open nothing.
    #[arg(long)]
    no_browser: bool,
    /// Which identity provider, where the gateway has several.
    #[arg(long)]
    provider: Option<String>,
    /// Prove who you are anew, also where the provider still knows you: for rules that want a recent sign-in.
    #[arg(long)]
    fresh: bool,
    /// Prove it in this way, as a refusal names it (the provider's `acr`). May stand several times.
    #[arg(long, value_name = "CLASS", requires = "fresh")]
    acr: Vec<String>,
    /// Put before the cluster's name in the name of its context.
    #[arg(long, default_value = "")]
    context_prefix: String,
    /// Trust the CA certificates in this PEM file, and no others.
    #[arg(long, value_name = "FILE", conflicts_with = "ca_sha256")]
    ca: Option<PathBuf>,
    /// Trust the certificate with this SHA-256 fingerprint: the gateway's own, or the CA's where it sends that along.
    #[arg(long, value_name = "HEX")]
    ca_sha256: Option<String>,
    /// Write this kubeconfig instead of the one that kubectl would write.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Make the first context the current one, also when there is one.
    #[arg(long)]
    set_current: bool,
}

pub(super) fn run(arguments: &LoginArguments) -> Result<Exit, Trouble> {
    let typed = url_of(&arguments.url)?;
    let home = Home::find()?;
    let way = Surroundings::look().for_login(arguments.device, arguments.no_browser);
    let kubeconfig = Kubeconfig::find(arguments.kubeconfig.as_deref())?;
    let (kept, entries, met_before) = block_on(async {
        let met = meet(&home, &typed, given_trust(arguments)?).await?;
        let entries = entries(&met.found, &arguments.context_prefix)?;
        // Before a person is sent to sign in, not after.
        kubeconfig.check(&entries)?;
        let proof = arguments.fresh.then_some(Fresh { acr: &arguments.acr });
        let kept = sign_in(&home, &met, arguments.provider.as_deref(), proof, way).await?;
        warn_of_clocks(&met.client);
        Ok((kept, entries, met.before))
    })?;
    say_who(&kept);
    if !met_before {
        let gateway = gateway_of(&kept)?;
        let place = home.place(&gateway);
        say(&format!(
            "  its secrets lie in {}, for your account alone; nothing of them in the kubeconfig",
            place.path().display()
        ));
    }
    let time = now()
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect::<String>();
    let written = kubeconfig.write(&entries, arguments.set_current, &time)?;
    say_contexts(&kubeconfig, &written);
    Ok(Exit::Done)
}

/// A gateway that was asked about itself, and how its certificate was checked.
pub(super) struct Met {
    pub(super) found: Discovery,
    pub(super) client: Client,
    trust: Trust,
    /// Whether somebody signed in there from here.
    before: bool,
}

/// Asks the address. Without a word on trust, what was said at an earlier login counts, else the system's certificates.
pub(super) async fn meet(home: &Home, typed: &GatewayUrl, said: Option<Trust>) -> Result<Met, Trouble> {
    let known = home.place(typed).read()?;
    let before = known.is_some();
    let trust = said.or(known.map(|known| known.trust)).unwrap_or(Trust::System);
    let client = Client::new(&trust, typed.is_secure())?;
    match discover(&client, typed).await {
        Ok(found) => Ok(Met {
            found,
            client,
            trust,
            before,
        }),
        Err(error) => Err(with_clocks(error.into(), &client)),
    }
}

/// Signs in and keeps the session; the gateway becomes the current one.
pub(super) async fn sign_in(
    home: &Home,
    met: &Met,
    provider: Option<&str>,
    fresh: Option<Fresh<'_>>,
    way: Way,
) -> Result<Kept, Trouble> {
    let place = home.place(&met.found.gateway);
    let held = Held::take(&place)?;
    let mut kept = refreshed(place.read()?, &met.trust, &met.found);
    let wish = Wish {
        provider,
        fresh,
        audience: API,
    };
    held.sign_in(&met.client, &mut kept, wish, way).await?;
    home.make_current(&met.found.gateway)?;
    Ok(kept)
}

fn given_trust(arguments: &LoginArguments) -> Result<Option<Trust>, Trouble> {
    if let Some(file) = &arguments.ca {
        let unusable = |why: String| {
            Trouble::new(Exit::Usage, format!("`{}` cannot be used as --ca", file.display()))
                .because(why)
                .remedy("name a file with CA certificates in PEM form (-----BEGIN CERTIFICATE-----)")
        };
        let pem = std::fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
        return Trust::by_pem(pem)
            .map(Some)
            .map_err(|error| unusable(error.to_string()));
    }
    let pin = arguments.ca_sha256.as_deref().map(Fingerprint::parse).transpose();
    let pin = pin.map_err(|error| {
        Trouble::new(Exit::Usage, "--ca-sha256 is not understood")
            .because(error.to_string())
            .remedy("openssl x509 -in cert.pem -noout -fingerprint -sha256")
    })?;
    Ok(pin.map(|sha256| Trust::Pin { sha256 }))
}

fn entries(found: &Discovery, prefix: &str) -> Result<Vec<Entry>, Trouble> {
    let program = program()?;
    Ok(found
        .clusters
        .iter()
        .map(|cluster| Entry::new(&found.gateway, cluster, prefix, &program))
        .collect())
}

fn say_who(kept: &Kept) {
    let session = kept.session.as_ref();
    let who = session
        .and_then(|session| session.username.as_deref())
        .unwrap_or("yourself");
    let ends = session.and_then(|session| session.ends.as_deref());
    // A gateway that writes times in another way is quoted as it is.
    let ends = ends.map(|ends| Timestamp::parse(ends).map_or_else(|_| ends.to_owned(), in_seconds));
    let until = ends
        .map(|ends| format!(", until {ends} unless it is used"))
        .unwrap_or_default();
    say(&format!("✔ signed in at {} as {who}{until}", kept.gateway));
}

fn say_contexts(kubeconfig: &Kubeconfig, written: &Written) {
    let path = kubeconfig.path().display();
    let Some(first) = written.contexts.first() else {
        return say("! the gateway has no cluster; the kubeconfig is unchanged");
    };
    let contexts = written.contexts.join(", ");
    if written.changed {
        say(&format!("✔ {path}: {contexts}"));
    } else {
        say(&format!("✔ {path} is as it should be: {contexts}"));
    }
    if let Some(backup) = &written.backup {
        say(&format!("  as it was before: {}", backup.display()));
    }
    match &written.made_current {
        Some(current) => say(&format!(
            "  `{current}` is the current context; try: kubectl get namespaces"
        )),
        None => say(&format!("  try: kubectl --context {first} get namespaces")),
    }
}
