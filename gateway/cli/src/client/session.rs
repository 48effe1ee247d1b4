//! A token for an audience: from what is kept, by renewing, or by a sign-in. The one place where a handle is used.
//!
//! Order of a renewal, all under the lock: the exchange's key is written down; the handle is sent once; the new handle
//! and the token are written down; then the token is used. A process that dies in between leaves the key, and whoever
//! comes next asks with the same handle and key for the same answer again (the gateway honours that for 30 s).

use console::GatewayUrl;
use model::time::Timestamp;

use super::gateway::{Discovery, Given, Grant, TokenError, redeem};
use super::home::Home;
use super::http::{Client, HttpError, Trust, now};
use super::signin::{SignIn, Way, Wish, random, sign_in};
use super::store::{Holder, Kept, Lock, Patience, Place, Secret, Token};
use super::trouble::Trouble;
use crate::Exit;
use crate::terminal::say;

/// A gateway's file with its lock held.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) place: &'a Place,
    pub(crate) lock: Lock,
}

/// What a renewal came to.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// Saved, and good to use.
    Token(Token),
    /// There is no session, or it is over; only a person can go on. The reason, if the gateway gave one.
    SignInNeeded(Option<String>),
}

impl Held<'_> {
    /// Waits for the lock and says so after a second.
    pub(crate) fn take(place: &Place) -> Result<Held<'_>, Trouble> {
        Self::take_with(place, &Patience::for_a_sign_in(say_waiting))
    }

    /// As [`Held::take`], for a command that no person sees: it waits for no person either.
    pub(crate) fn take_unattended(place: &Place) -> Result<Held<'_>, Trouble> {
        Self::take_with(place, &Patience::for_a_renewal(say_waiting))
    }

    fn take_with<'p>(place: &'p Place, patience: &Patience) -> Result<Held<'p>, Trouble> {
        Ok(Held {
            place,
            lock: place.lock(patience)?,
        })
    }

    pub(crate) fn save(&self, kept: &Kept) -> Result<(), Trouble> {
        self.place.write(kept, &self.lock).map_err(Trouble::from)
    }

    /// Exchanges the handle.
    pub(crate) async fn renew(&self, client: &Client, kept: &mut Kept, audience: &str) -> Result<Renewal, Trouble> {
        let Some(session) = kept.session.clone() else {
            return Ok(Renewal::SignInNeeded(None));
        };
        let exchange = match &kept.exchange_under_way {
            Some(begun) => begun.clone(),
            None => self.begin_exchange(kept)?,
        };
        let grant = Grant::Handle {
            handle: &session.handle,
            exchange: &exchange,
        };
        match redeem(client, &kept.endpoints.clone(), &grant, audience).await {
            Ok(given) => {
                kept.exchange_under_way = None;
                kept.session = Some(given.session);
                kept.tokens.insert(audience.to_owned(), given.token.clone());
                self.save(kept)?;
                Ok(Renewal::Token(given.token))
            }
            Err(TokenError::Over(why)) => {
                kept.end();
                self.save(kept)?;
                Ok(Renewal::SignInNeeded(Some(why)))
            }
            Err(error) => Err(not_renewed(error, client)),
        }
    }

    fn begin_exchange(&self, kept: &mut Kept) -> Result<Secret, Trouble> {
        let key = random()?;
        kept.exchange_under_way = Some(key.clone());
        self.save(kept)?;
        Ok(key)
    }

    /// Signs a person in, and keeps the session before anybody hears of it.
    pub(crate) async fn sign_in(
        &self,
        client: &Client,
        kept: &mut Kept,
        wish: Wish<'_>,
        way: Way,
    ) -> Result<Given, Trouble> {
        let gateway = gateway_of(kept)?;
        let (endpoints, clusters) = (kept.endpoints.clone(), kept.clusters.clone());
        let audience = wish.audience;
        let to = SignIn {
            gateway: &gateway,
            endpoints: &endpoints,
            clusters: &clusters,
            wish,
        };
        self.lock.signs_in();
        let mut keep = |given: &Given| {
            kept.begin(given.session.clone());
            kept.tokens.insert(audience.to_owned(), given.token.clone());
            self.place.forget_refusals();
            self.save(kept)
        };
        let signed_in = sign_in(client, &to, way, &mut keep).await;
        signed_in.map_err(|trouble| with_clocks(trouble, client))
    }
}

fn say_waiting(holder: Holder) {
    let what = if holder.signs_in {
        "signs in"
    } else {
        "renews the session"
    };
    say(&format!("waiting for another gatescribe{holder} that {what} …"));
}

/// What is kept of a gateway that was just discovered: the session of before, under today's addresses.
pub(crate) fn refreshed(known: Option<Kept>, trust: &Trust, found: &Discovery) -> Kept {
    let url = found.gateway.as_str().to_owned();
    let mut kept =
        known.unwrap_or_else(|| Kept::new(url, trust.clone(), found.endpoints.clone(), found.clusters.clone()));
    kept.trust = trust.clone();
    kept.endpoints = found.endpoints.clone();
    kept.clusters = found.clusters.clone();
    kept
}

/// A client for the gateway of a file.
pub(crate) fn client_of(kept: &Kept) -> Result<Client, HttpError> {
    Client::new(&kept.trust, kept.gateway.starts_with("https:"))
}

/// The gateway of a file.
pub(crate) fn gateway_of(kept: &Kept) -> Result<GatewayUrl, Trouble> {
    GatewayUrl::parse(&kept.gateway).map_err(|error| {
        Trouble::new(Exit::Fault, "the kept session is not usable")
            .because(error.to_string())
            .remedy("gatescribe login URL")
    })
}

/// A session that is at hand for a command.
#[derive(Debug)]
pub(crate) struct Ready {
    /// What is kept.
    pub(crate) kept: Kept,
    /// For the gateway.
    pub(crate) client: Client,
    /// For the audience that was asked for.
    pub(crate) token: Secret,
}

/// A token for a command that never opens anything: what is kept, or a renewal.
pub(crate) async fn ready(home: &Home, gateway: Option<&str>, audience: &str) -> Result<Ready, Trouble> {
    let gateway = chosen(home, gateway)?;
    let place = home.place(&gateway);
    let kept = place.read()?.ok_or_else(|| sign_in_needed(&gateway, None))?;
    if let Some(token) = kept.usable(audience, now()) {
        let token = token.secret().clone();
        return Ok(Ready {
            client: client_of(&kept)?,
            token,
            kept,
        });
    }
    let attended = crate::terminal::is_attended();
    if !attended && kept.session.is_none() {
        return Err(sign_in_needed(&gateway, None));
    }
    let held = if attended {
        Held::take(&place)
    } else {
        Held::take_unattended(&place)
    }?;
    let mut kept = place.read()?.ok_or_else(|| sign_in_needed(&gateway, None))?;
    let client = client_of(&kept)?;
    if let Some(token) = kept.usable(audience, now()) {
        let token = token.secret().clone();
        return Ok(Ready { client, token, kept });
    }
    match held.renew(&client, &mut kept, audience).await? {
        Renewal::Token(token) => Ok(Ready {
            client,
            token: token.secret().clone(),
            kept,
        }),
        Renewal::SignInNeeded(why) => Err(with_clocks(sign_in_needed(&gateway, why), &client)),
    }
}

/// The gateway that was named, else the last one that was signed in to, else the only one.
pub(crate) fn chosen(home: &Home, named: Option<&str>) -> Result<GatewayUrl, Trouble> {
    if let Some(named) = named {
        return super::gateway::url_of(named);
    }
    if let Some(current) = home.current() {
        return Ok(current);
    }
    let places = home.places()?;
    match places.as_slice() {
        [only] => match only.read()? {
            Some(kept) => gateway_of(&kept),
            None => Err(nowhere()),
        },
        _ => Err(nowhere()),
    }
}

fn nowhere() -> Trouble {
    Trouble::new(Exit::SignIn, "you are not signed in anywhere").remedy("gatescribe login https://gate.example.com")
}

/// Exit 3, with the command that helps.
pub(crate) fn sign_in_needed(gateway: &GatewayUrl, why: Option<String>) -> Trouble {
    let trouble = Trouble::new(Exit::SignIn, format!("you are not signed in at {}", gateway.as_str()));
    let trouble = match why {
        Some(why) => trouble.because(why),
        None => trouble,
    };
    trouble.remedy(format!("run gatescribe login {}", gateway.as_str()))
}

fn not_renewed(error: TokenError, client: &Client) -> Trouble {
    let stays = matches!(error, TokenError::Http(_));
    let trouble = Trouble::from(error);
    let trouble = if stays {
        trouble.remedy("your session stays; nothing needs to be signed in again")
    } else {
        trouble
    };
    with_clocks(trouble, client)
}

/// Clocks that differ explain much of what goes wrong between two machines.
pub(crate) fn with_clocks(trouble: Trouble, client: &Client) -> Trouble {
    match client.clocks() {
        Some(clocks) => trouble.remedy(format!("set the clock (timedatectl set-ntp true): {clocks}")),
        None => trouble,
    }
}

/// Says so where the clocks differ.
pub(crate) fn warn_of_clocks(client: &Client) {
    if let Some(clocks) = client.clocks() {
        say(&format!(
            "! {clocks}; set the clock (timedatectl set-ntp true), or sign-ins and certificates will fail"
        ));
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    on(&mut tokio::runtime::Builder::new_current_thread(), work)
}

/// Runs a future on this thread, and what it spawns on one beside it: that goes on while this thread waits for whoever reads what
/// the command writes.
pub(crate) fn block_on_beside<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    on(tokio::runtime::Builder::new_multi_thread().worker_threads(1), work)
}

fn on<T>(runtime: &mut tokio::runtime::Builder, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = runtime.enable_all().build().map_err(|error| {
        Trouble::new(Exit::Fault, "the program cannot start")
            .because(error.to_string())
            .remedy("check the limits of open files and memory (ulimit -a)")
    })?;
    let result = runtime.block_on(work);
    // A browser in the terminal or a name look-up that hangs must not keep the command from ending.
    runtime.shutdown_background();
    result
}

/// RFC 3339 without fractions of a second: for people, and for kubectl.
pub(crate) fn in_seconds(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}
