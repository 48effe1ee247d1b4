//! A browser with all that it keeps, for each host.

use std::collections::BTreeMap;

use http::StatusCode;
use model::cookie::Cookie;
use model::service::HostName;
use state::{Session, Standing};

use super::world::{Browser, Seen, World, query};
use crate::form::with_query;
use crate::signin::Arrival;

pub(super) const GRAFANA: &str = "grafana.example";
pub(super) const WIKI: &str = "wiki.example";

/// A browser with all that it keeps, and what the request path does on hosts of services.
pub(super) struct Surfer<'w> {
    world: &'w World,
    pub(super) gate: Browser<'w>,
    hosts: BTreeMap<&'static str, Browser<'w>>,
    /// How often the provider was gone to.
    pub(super) rounds: usize,
}

impl<'w> Surfer<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        let at = |host| (host, Browser::at(world, host));
        Self {
            world,
            gate: Browser::new(world),
            hosts: [GRAFANA, WIKI].map(at).into(),
            rounds: 0,
        }
    }

    pub(super) fn host(&mut self, host: &'static str) -> &mut Browser<'w> {
        self.hosts.get_mut(host).unwrap()
    }

    /// The session behind the cookie that is kept for this host.
    pub(super) fn session(&mut self, host: &'static str) -> Option<Session> {
        let value = self.host(host).cookies.get(Cookie::Service.name(true)).cloned()?;
        let now = self.world.at();
        let found = self
            .world
            .store
            .session_of_cookie(&HostName::new(host).unwrap(), &value, now);
        found.unwrap()
    }

    pub(super) fn is_in(&mut self, host: &'static str) -> bool {
        self.session(host)
            .is_some_and(|session| session.standing == Standing::Live)
    }

    /// What the request path answers to who is not signed in: the address of the sign-in, and a cookie here where there is none.
    pub(super) fn turned_away(&mut self, host: &'static str, target: &str) -> String {
        let name = Cookie::Arrival.name(true);
        let fresh = || state::Secret::random().unwrap().reveal().to_owned();
        let kept = self
            .host(host)
            .cookies
            .entry(name.to_owned())
            .or_insert_with(fresh)
            .clone();
        let arrival = Arrival::of(&state::Secret::presented(&kept));
        let pairs = [
            ("return_host", host),
            ("return_to", target),
            ("arrival", arrival.as_str()),
        ];
        with_query("/signin", &pairs)
    }

    /// Goes to an address, on whichever host.
    pub(super) async fn get(&mut self, address: &str) -> Seen {
        for host in [GRAFANA, WIKI] {
            if let Some(target) = address.strip_prefix(&format!("https://{host}")) {
                let target = target.to_owned();
                return self.host(host).get(&target).await;
            }
        }
        self.gate.get(address).await
    }

    /// Follows until it stands before something that is not the gateway's: the address of a page of a service, or the status of a page.
    pub(super) async fn follow(&mut self, mut address: String) -> Result<String, Seen> {
        for _ in 0..20 {
            if address.starts_with("https://idp.example/auth?") {
                self.rounds += 1;
                let code = self.world.idp.code_for(&address);
                let state = query(&address, "state").unwrap();
                let pairs = [
                    ("code", code.as_str()),
                    ("state", &state),
                    ("iss", "https://idp.example"),
                ];
                address = with_query("/callback", &pairs);
                continue;
            }
            let is_service = [GRAFANA, WIKI]
                .iter()
                .any(|host| address.starts_with(&format!("https://{host}/")));
            if is_service && !address.contains("/.gatescribe/") {
                return Ok(address);
            }
            let seen = self.get(&address).await;
            if seen.status != StatusCode::SEE_OTHER {
                return Err(seen);
            }
            address = seen.location();
        }
        panic!("led in circles");
    }

    /// Opens a page of a service as somebody who is not signed in there.
    pub(super) async fn open(&mut self, host: &'static str, target: &str) -> Result<String, Seen> {
        let away = self.turned_away(host, target);
        self.follow(away).await
    }

    /// Up to the address with the code, which is not gone to yet.
    pub(super) async fn code(&mut self, host: &'static str, target: &str) -> String {
        let away = self.turned_away(host, target);
        self.gate.get(&away).await.location()
    }
}
