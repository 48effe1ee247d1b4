//! Who calls what: 500 people, 10,000 bindings, 2,000 targets, and tokens of an issuer of our own.
//!
//! Person p is bound in 20 of 200 namespaces; a fifth of the bindings name their team instead. Each namespace has ten pods.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// People.
    pub people: usize,
    /// Role bindings.
    pub bindings: usize,
}

/// The order's: 500 people, 10,000 bindings.
pub const USUAL: Size = Size {
    people: 500,
    bindings: 10_000,
};
/// Namespaces.
pub const NAMESPACES: usize = 200;
/// Pods in each of them: 2,000 targets.
pub const PODS: usize = 10;
const TEAMS: usize = 50;
/// The audience of the people's tokens.
pub const CLIENT: &str = "gatescribe";

/// Whom and what requests name.
pub struct World {
    size: Size,
    issuer: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
    tokens: RwLock<Vec<Arc<str>>>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl World {
    /// A world whose tokens come from `issuer`.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(size: Size, issuer: &str) -> anyhow::Result<Self> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let world = Self {
            size,
            issuer: issuer.to_owned(),
            key,
            random: SystemRandom::new(),
            tokens: RwLock::default(),
        };
        let tokens = (0..size.people)
            .map(|person| world.sign(person, 0))
            .collect::<Result<_, _>>()?;
        *world.tokens.write().unwrap_or_else(std::sync::PoisonError::into_inner) = tokens;
        Ok(world)
    }

    /// How many people there are.
    #[must_use]
    pub const fn people(&self) -> usize {
        self.size.people
    }

    /// A person's newest token.
    #[must_use]
    pub fn token(&self, person: usize) -> Arc<str> {
        let tokens = self.tokens.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.get(person).cloned().unwrap_or_default()
    }

    /// Gives a person a new token, as a client does when the old one runs out.
    ///
    /// # Errors
    /// Signing fails.
    pub fn renew(&self, person: usize, serial: usize) -> anyhow::Result<()> {
        let token = self.sign(person, serial)?;
        let mut tokens = self.tokens.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(place) = tokens.get_mut(person) {
            *place = token;
        }
        Ok(())
    }

    fn sign(&self, person: usize, serial: usize) -> anyhow::Result<Arc<str>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let mut groups: Vec<String> = (0..7).map(|n| format!("department-{n}-{}", person % 10)).collect();
        groups.push(team(person));
        let header = json!({ "alg": "ES256", "kid": "bench", "typ": "JWT" });
        let claims = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": format!("subject-{person:04}"),
            "iat": now, "nbf": now, "exp": now + 3_600, "jti": format!("{person:04}-{serial:06}"),
            "sid": format!("session-{person:04}"), "email": user(person), "email_verified": true, "groups": groups,
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(&self.random, text.as_bytes())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())).into())
    }

    /// The issuer's keys.
    #[must_use]
    pub fn keys(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let half = |range| URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench", "x": half(1..33), "y": half(33..65),
        }] })
    }

    /// A namespace in which a person is bound, of the 20 (fewer in a small world).
    #[must_use]
    pub fn namespace(&self, person: usize, nth: usize) -> usize {
        let rounds = (self.size.bindings / self.size.people).clamp(1, NAMESPACES / 10);
        (person * 7 + (nth % rounds) * 10) % NAMESPACES
    }

    /// A namespace in which a person is not bound, neither by name nor by team.
    #[must_use]
    pub fn elsewhere(&self, person: usize, nth: usize) -> usize {
        // Bound are the namespaces that differ from 7p by a multiple of ten; a team's members differ by multiples of 350.
        (person * 7 + 5 + (nth % 20) * 10) % NAMESPACES
    }

    /// The list of one kind, as the API server answers it.
    #[must_use]
    pub fn list(&self, plural: &str) -> Value {
        let (kind, items) = match plural {
            "namespaces" => ("Namespace", (0..NAMESPACES).map(|n| json!({ "metadata": { "name": name(n), "labels": { "team": format!("t{}", n % 7) }, "resourceVersion": "1" } })).collect()),
            "rolebindings" => ("RoleBinding", (0..self.size.bindings).map(|n| self.binding(n, false)).collect()),
            "clusterroles" => ("ClusterRole", cluster_roles()),
            "clusterrolebindings" => ("ClusterRoleBinding", cluster_role_bindings()),
            "accessrules" => ("AccessRule", Vec::new()),
            "clusteraccessrules" => ("ClusterAccessRule", Vec::new()),
            _ => ("Role", Vec::new()),
        };
        let version = match plural {
            "namespaces" => "v1",
            "accessrules" | "clusteraccessrules" => "gatescribe.dev/v1",
            _ => RBAC,
        };
        json!({ "kind": format!("{kind}List"), "apiVersion": version, "metadata": { "resourceVersion": "1" }, "items": items })
    }

    /// The event of a change: one binding gets one subject more, or loses it.
    #[must_use]
    pub fn change(&self, serial: usize) -> Value {
        let mut object = self.binding(serial / 2 % self.size.bindings, serial.is_multiple_of(2));
        object["kind"] = "RoleBinding".into();
        object["apiVersion"] = RBAC.into();
        json!({ "type": "MODIFIED", "object": object })
    }

    fn binding(&self, n: usize, one_more: bool) -> Value {
        let (person, nth) = (n % self.size.people, n / self.size.people);
        let mut subjects = vec![if n % 5 == 4 {
            json!({ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": team(person) })
        } else {
            json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user(person) })
        }];
        if one_more {
            subjects.push(
                json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "visitor@example.com" }),
            );
        }
        json!({
            "metadata": { "name": format!("binding-{n}"), "namespace": name(self.namespace(person, nth)), "resourceVersion": "1" },
            "subjects": subjects,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
        })
    }
}

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// The name of a namespace.
#[must_use]
pub fn name(namespace: usize) -> String {
    format!("namespace-{namespace:03}")
}

fn user(person: usize) -> String {
    format!("person-{person:04}@example.com")
}

fn team(person: usize) -> String {
    format!("team-{:02}", person % TEAMS)
}

fn cluster_roles() -> Vec<Value> {
    // As long as the real `view`, with pods in the middle of it.
    let rule = |group: &str, resources: &[&str]| json!({ "verbs": ["get", "list", "watch"], "apiGroups": [group], "resources": resources });
    let write =
        json!({ "verbs": ["create", "delete", "update", "patch"], "apiGroups": [""], "resources": ["configmaps"] });
    vec![
        json!({ "metadata": { "name": "view", "resourceVersion": "1" }, "rules": [
            rule("apps", &["deployments", "replicasets", "statefulsets", "daemonsets"]),
            rule("", &["configmaps", "endpoints", "events", "persistentvolumeclaims", "pods", "pods/log", "services"]),
            rule("batch", &["jobs", "cronjobs"]),
            rule("networking.k8s.io", &["ingresses", "networkpolicies"]),
            write,
        ] }),
        json!({ "metadata": { "name": "system:discovery", "resourceVersion": "1" }, "rules": [
            { "verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/openapi", "/openapi/*", "/version"] },
        ] }),
    ]
}

fn cluster_role_bindings() -> Vec<Value> {
    vec![json!({
        "metadata": { "name": "system:discovery", "resourceVersion": "1" },
        "subjects": [{ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated" }],
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:discovery" },
    })]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_bound_elsewhere() {
        let world = World::new(USUAL, "http://127.0.0.1").unwrap();
        for person in [0, 17, 499] {
            for nth in 0..20 {
                let there = world.elsewhere(person, nth);
                let bound = (0..USUAL.people)
                    .filter(|other| *other == person || team(*other) == team(person))
                    .any(|other| (0..20).any(|n| world.namespace(other, n) == there));
                assert!(!bound, "{person} in {there}");
            }
        }
    }
}
