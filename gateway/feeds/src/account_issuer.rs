//! Who issues a cluster's own ServiceAccount tokens, as its API server publishes it.
//!
//! Such an issuer must never be accepted as one of people's: its tokens would be good until they expire, although their
//! account was deleted (O-24). Not here: what is done about one that is configured all the same. Invariant:
//! what was once learnt of a cluster stays known while the cluster is silent.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

/// Where OpenID Connect Discovery 1.0 and Kubernetes have it. Every ServiceAccount may read it by the built-in role
/// `system:service-account-issuer-discovery`.
const PATH: &str = "/.well-known/openid-configuration";
/// How long until a cluster is asked again that gave no answer.
const AGAIN: Duration = Duration::from_secs(10);
/// How often a known issuer is looked at: an API server may be started anew with another one.
const LOOK: Duration = Duration::from_secs(600);

/// What is known of a cluster's issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountIssuer {
    /// The issuer, byte for byte, as last published.
    pub known: Option<Arc<str>>,
    /// Why the last question brought none.
    pub trouble: Option<Arc<str>>,
}

/// Asks once.
///
/// # Errors
/// The cluster gives no answer, forbids it, or its answer names no issuer; in words.
pub async fn ask(client: &kube::Client) -> Result<Arc<str>, String> {
    let request = http::Request::get(PATH).body(Vec::new());
    let request = request.map_err(|error| error.to_string())?;
    let document = client.request::<Value>(request).await;
    read(&document.map_err(|error| error.to_string())?)
}

fn read(document: &Value) -> Result<Arc<str>, String> {
    let issuer = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if issuer.is_empty() {
        return Err(format!("`{PATH}` names no issuer"));
    }
    Ok(issuer.into())
}

/// Asks until there is an answer, and then now and again, for as long as anybody listens.
pub async fn keep_fresh(client: kube::Client, publish: watch::Sender<AccountIssuer>) {
    loop {
        let answer = ask(&client).await;
        let pause = if answer.is_ok() { LOOK } else { AGAIN };
        publish.send_if_modified(|state| {
            let next = after(state, answer);
            let changed = next != *state;
            *state = next;
            changed
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = publish.closed() => return,
        }
    }
}

fn after(state: &AccountIssuer, answer: Result<Arc<str>, String>) -> AccountIssuer {
    match answer {
        Ok(issuer) => AccountIssuer {
            known: Some(issuer),
            trouble: None,
        },
        Err(why) => AccountIssuer {
            known: state.known.clone(),
            trouble: Some(why.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_named_issuer_is_one() {
        assert_eq!(
            read(&json!({ "issuer": "https://kubernetes.default.svc", "jwks_uri": "x" })).as_deref(),
            Ok("https://kubernetes.default.svc")
        );
        for none in [json!({}), json!({ "issuer": "" }), json!({ "issuer": 1 }), json!([])] {
            read(&none).unwrap_err();
        }
    }

    #[test]
    fn silence_does_not_make_a_known_issuer_unknown() {
        let known = after(&AccountIssuer::default(), Ok("https://a".into()));
        let silent = after(&known, Err("no way".to_owned()));
        assert_eq!(silent.known.as_deref(), Some("https://a"));
        assert_eq!(silent.trouble.as_deref(), Some("no way"));
        assert_eq!(
            after(&silent, Ok("https://b".into())).known.as_deref(),
            Some("https://b")
        );
    }
}
