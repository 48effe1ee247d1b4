//! An OpenID provider with three people and no passwords: what a company's provider is to the gateway.
//!
//! OpenID Connect Core 1.0 with the authorization code flow, PKCE S256 (RFC 7636, required), nonce, refresh with rotation
//! and reuse detection (RFC 9700 §4.14), user info, RP-initiated logout, key rotation on demand. It is *not* a provider
//! for use: whoever reaches it may be anyone. It speaks plain http, which is why only loopback is taken.
//!
//! Scripts choose a person without a page: `/authorize?…&login_hint=alice&prompt=none` answers with the code at once.

mod grant;
mod keys;
pub(crate) mod page;
mod people;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use model::time::Timestamp;
use serde_json::{Value, json};

pub use people::{PEOPLE, Person, person};

use crate::loopback::{self, Listening, StartError};
use crate::{Clock, system_clock};
use keys::Keys;
use tables::Expiring;

const CODE_LIFETIME: Duration = Duration::from_secs(60);
const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);
const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
const CODES: usize = 1024;
const SESSIONS: usize = 4096;

/// A client of the provider, such as the gateway.
#[derive(Clone)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; none for a public client.
    pub secret: Option<String>,
    /// The exact redirect addresses it may use.
    pub redirect_uris: Vec<String>,
    /// Where a person may be sent after signing out.
    pub post_logout_redirect_uris: Vec<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("redirect_uris", &self.redirect_uris)
            .finish_non_exhaustive()
    }
}

/// How the provider starts.
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Its clients. More can be added with [`Provider::register`].
    pub clients: Vec<Client>,
    /// Its clock.
    pub clock: Clock,
}

impl Options {
    /// On the given address, without a client, by the machine's clock.
    #[must_use]
    pub fn on(address: SocketAddr) -> Self {
        Self {
            address,
            clients: Vec::new(),
            clock: system_clock(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

/// A running provider. Dropping it ends it.
pub struct Provider {
    shared: Arc<Shared>,
    listening: Listening,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("issuer", &self.shared.issuer)
            .finish_non_exhaustive()
    }
}

impl Provider {
    /// Starts it.
    ///
    /// # Errors
    /// The address is not loopback or is taken; no key could be made.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let (listener, address) = loopback::bind(options.address).await?;
        let state = Tables {
            clients: options.clients,
            keys: Keys::generate()?,
            codes: Expiring::new(CODES, CODE_LIFETIME),
            access: Expiring::new(SESSIONS, TOKEN_LIFETIME),
            refresh: Expiring::new(SESSIONS, SESSION_LIFETIME),
        };
        let shared = Arc::new(Shared {
            issuer: format!("http://{address}"),
            clock: options.clock,
            tables: Mutex::new(state),
        });
        let listening = loopback::serve(listener, address, None, router(Arc::clone(&shared)));
        Ok(Self { shared, listening })
    }

    /// The issuer, as it stands in every token: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.shared.issuer
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// Adds a client, or replaces the one with the same id.
    pub fn register(&self, client: Client) {
        let mut tables = self.shared.tables();
        tables.clients.retain(|known| known.id != client.id);
        tables.clients.push(client);
    }

    /// Signs with a new key from now on; the key before it stays in the key set until the next rotation. Returns the new
    /// key's id.
    ///
    /// # Errors
    /// No key could be made.
    pub fn rotate_keys(&self) -> Result<String, StartError> {
        self.shared.tables().keys.rotate()
    }

    /// Ends it and waits until every connection is gone.
    pub async fn stop(self) {
        self.listening.stop().await;
    }
}

struct Shared {
    issuer: String,
    clock: Clock,
    tables: Mutex<Tables>,
}

struct Tables {
    clients: Vec<Client>,
    keys: Keys,
    codes: Expiring<grant::Code>,
    access: Expiring<grant::Session>,
    refresh: Expiring<grant::Handle>,
}

impl Shared {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Every change of the tables is one insert or one flag: a panic elsewhere leaves nothing half done.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/authorize", get(grant::authorize))
        .route("/token", post(grant::token))
        .route("/userinfo", get(grant::userinfo).post(grant::userinfo))
        .route("/end_session", get(grant::end_session))
        .with_state(shared)
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", shared.issuer);
    Json(json!({
        "issuer": shared.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/userinfo"),
        "end_session_endpoint": at("/end_session"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
        "claims_supported": ["sub", "email", "email_verified", "name", "preferred_username", "groups", "auth_time", "amr", "sid"],
        "prompt_values_supported": ["none", "login", "select_account"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(shared.tables().keys.set())
}
