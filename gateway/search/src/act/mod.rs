//! The line of an act: about what somebody typed. It is put together from the request that was *decided*, never from the
//! client's claims alone: `Kubectl-Command` chooses words only where it fits the verb, so that a delete cannot call itself a get.
//!
//! Names come from strangers: what is not plain text is quoted, and no control character survives.

pub(crate) mod names;

use model::event::RecordKind;

use crate::leaf::{Called, Effective, Leaf, Person, Request};

/// The line for the record that begins an act.
pub(crate) fn line(kind: RecordKind, leaf: &Leaf) -> String {
    match kind {
        RecordKind::Session => session(leaf.person.as_ref()),
        RecordKind::AuditRead => leaf
            .note
            .as_deref()
            .map_or_else(|| "read audit records".to_owned(), plain),
        RecordKind::Gap => gap(leaf),
        RecordKind::Summary => summed(leaf),
        RecordKind::Checkpoint => "ledger checkpoint".to_owned(),
        RecordKind::Start => "gateway started".to_owned(),
        RecordKind::Recovery => {
            if let Some(records) = &leaf.unsigned {
                let told = ledger::spanned(&(records.from..records.until), ["was", "were"]);
                return format!("{told} not signed when the run before ended");
            }
            let bytes = leaf.recovery.as_ref().map_or(0, |found| found.dropped_bytes);
            format!("ledger recovered after an unclean end ({bytes} bytes cut off)")
        }
        RecordKind::Policy
        | RecordKind::Config
        | RecordKind::Grant
        | RecordKind::Damage
        | RecordKind::Key
        | RecordKind::Clock
        | RecordKind::Erasure
        | RecordKind::Hold
        | RecordKind::Answer => leaf.note.as_deref().map_or_else(|| kind.name().to_owned(), plain),
        RecordKind::Intent
        | RecordKind::Outcome
        | RecordKind::Access
        | RecordKind::Close
        | RecordKind::Open
        | RecordKind::Heartbeat
        | RecordKind::Refusal
        | RecordKind::Verdict
        | RecordKind::Issued => called(kind, leaf),
    }
}

fn session(person: Option<&Person>) -> String {
    let Some(person) = person else {
        return "session".to_owned();
    };
    let line = match person.what.as_str() {
        "signedIn" => "signed in".to_owned(),
        "signInRefused" => "sign-in refused".to_owned(),
        "renewed" => "session renewed".to_owned(),
        "signedOut" => "signed out".to_owned(),
        "signedOutByProvider" => "signed out by the provider".to_owned(),
        "revoked" => "session revoked".to_owned(),
        "identityChanged" => "identity changed at the provider".to_owned(),
        "providerRefused" => "the provider no longer vouches".to_owned(),
        "handleReused" => "an old handle came back; session ended".to_owned(),
        "codeReused" => "a one-time code came back; session ended".to_owned(),
        "deviceApproved" => "device approved".to_owned(),
        "deviceDenied" => "device denied".to_owned(),
        "reasonStated" => "reason stated".to_owned(),
        "reasonTakenBack" => "reason taken back".to_owned(),
        "sessionCut" => "ended a session".to_owned(),
        "userLocked" => "locked a user".to_owned(),
        "userUnlocked" => "unlocked a user".to_owned(),
        "partKeysRotated" => "had new keys made for parts".to_owned(),
        "partKeysRestored" => "put keys of parts and recordings back".to_owned(),
        "assertionExchanged" => "an assertion for another service given".to_owned(),
        "exchangeRefused" => "an assertion for another service refused".to_owned(),
        "credentialRefused" => "credential refused".to_owned(),
        "logoutTokenRefused" => "logout token refused".to_owned(),
        other => plain(other),
    };
    match &person.provider {
        Some(provider) => format!("{line} at {}", quoted(provider)),
        None => line,
    }
}

fn gap(leaf: &Leaf) -> String {
    let in_words = |note: &String| format!("gap in the ledger: {}", plain(note));
    leaf.gap.as_ref().map_or_else(
        || {
            leaf.note
                .as_ref()
                .map_or_else(|| "gap in the ledger".to_owned(), in_words)
        },
        |gap| {
            let (lost, refused, why) = (gap.lost, gap.refused, plain(&gap.why));
            let Some(passed) = &gap.passed else {
                return format!("gap in the ledger: {lost} records lost, {refused} requests refused ({why})");
            };
            let (reads, effects) = (passed.reads, passed.effects);
            let at_least = if gap.at_least { "at least " } else { "" };
            format!(
                "gap in the ledger: {at_least}{reads} reads and {effects} calls that may change something went on without a record ({why})"
            )
        },
    )
}

fn summed(leaf: &Leaf) -> String {
    leaf.sum.as_ref().map_or_else(
        || "summary".to_owned(),
        |sum| format!("{} × {}", sum.count, plain(&sum.what)),
    )
}

/// A creation whose path names no object. The name stands in the body or is the server's choice (`generateName`), so only
/// the end of the call says it, and the line is put together again then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unnamed {
    req: Request,
    effective: Option<Effective>,
}

impl Unnamed {
    pub(crate) fn forget_effective(&mut self) {
        self.effective = None;
    }

    /// What to remember of the record that begins an act; `None` where no name can be missing.
    pub(crate) fn of(kind: RecordKind, leaf: &Leaf) -> Option<Box<Self>> {
        let req = leaf.req.as_ref()?;
        let is_creation = kind == RecordKind::Intent && req.verb == "create";
        let awaits_name = is_creation && req.name.is_none() && leaf.service.is_none();
        awaits_name.then(|| {
            Box::new(Self {
                req: req.clone(),
                effective: leaf.effective.clone(),
            })
        })
    }

    /// The line, now that the name is known.
    pub(crate) fn line(mut self, name: &str, namespace: Option<&str>) -> String {
        self.req.name = Some(name.to_owned());
        self.req.namespace = namespace.map(str::to_owned);
        // A creation selects nothing.
        words(RecordKind::Intent, &self.req, Keys::All, self.effective.as_ref())
    }
}

fn called(kind: RecordKind, leaf: &Leaf) -> String {
    let nothing = Request::default();
    let req = leaf.req.as_ref().unwrap_or(&nothing);
    if req.method.is_empty() && req.path.is_empty() {
        return match kind {
            RecordKind::Refusal => "connection without a request".to_owned(),
            _ => leaf.note.as_deref().map_or_else(|| kind.name().to_owned(), plain),
        };
    }
    // Whatever else stands there, it went to no cluster.
    if let Some(service) = &leaf.service {
        return at_service(service, &req.method, &req.path);
    }
    let keys = if leaf.has_all_keys() { Keys::All } else { Keys::Some };
    words(kind, req, keys, leaf.effective.as_ref())
}

/// Which keys of its query a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    All,
    /// What is not among them may have been there.
    Some,
}

fn words(kind: RecordKind, req: &Request, keys: Keys, effective: Option<&Effective>) -> String {
    let mut words = kubectl(kind, req, keys).unwrap_or_else(|| raw(req));
    if let Some(effective) = effective {
        words.push_str(&acting_as(effective));
    }
    words
}

fn raw(req: &Request) -> String {
    format!("{} {}", plain(&req.method), plain(&req.path))
}

/// What was asked of an HTTP service, and under which host: `GET grafana.example.com/d/7`.
pub(crate) fn at_service(service: &Called, method: &str, path: &str) -> String {
    format!("{} {}{}", plain(method), plain(&service.host), plain(path))
}

fn acting_as(effective: &Effective) -> String {
    let mut words = format!(" --as {}", quoted(&effective.user));
    for group in effective.groups.iter().take(3) {
        words.push_str(" --as-group ");
        words.push_str(&quoted(group));
    }
    words
}

/// The command with its object, or `None` when no command fits.
fn kubectl(kind: RecordKind, req: &Request, keys: Keys) -> Option<String> {
    let resource = req.resource.as_deref().filter(|resource| !resource.is_empty())?;
    if let Some(review) = review(req, resource) {
        return Some(format!("kubectl auth {review}"));
    }
    if req.subresource.is_some() {
        return on_subresource(kind, req, resource);
    }
    let group = req.group.as_deref().unwrap_or_default();
    if group == "metrics.k8s.io" && is_read(&req.verb) {
        return Some(finish(format!("kubectl top {}{}", plain(resource), name(req)), req));
    }
    let command = command(req)?;
    // One object of a kind reads better in the singular, as people type it; `get` is mostly typed in the plural.
    let singular = req.name.is_some() || req.verb == "create";
    let what = names::typed(resource, group, singular && !is_read(&req.verb));
    let mut words = format!("kubectl {command} {}{}", plain(&what), name(req));
    if req.verb == "deletecollection" {
        words.push_str(selected(req, keys));
    }
    let mut words = finish(words, req);
    if req.verb == "watch" {
        words.push_str(" --watch");
    }
    Some(words)
}

/// What of a collection was meant: all of it only where no selector can have been given.
fn selected(req: &Request, keys: Keys) -> &'static str {
    match (has(req, "labelSelector"), has(req, "fieldSelector"), keys) {
        (true, true, _) => " -l … --field-selector …",
        (true, false, _) => " -l …",
        (false, true, _) => " --field-selector …",
        (false, false, Keys::All) => " --all",
        (false, false, Keys::Some) => " …",
    }
}

fn review(req: &Request, resource: &str) -> Option<&'static str> {
    match resource {
        _ if req.verb != "create" => None,
        "selfsubjectaccessreviews" | "localsubjectaccessreviews" | "subjectaccessreviews" => Some("can-i"),
        "selfsubjectrulesreviews" => Some("can-i --list"),
        "selfsubjectreviews" => Some("whoami"),
        _ => None,
    }
}

fn on_subresource(kind: RecordKind, req: &Request, resource: &str) -> Option<String> {
    let subresource = req.subresource.as_deref().unwrap_or_default();
    let name = req.name.as_deref().map(quoted).unwrap_or_default();
    let words = match (resource, subresource) {
        ("pods", "exec") => format!("kubectl exec {name}"),
        ("pods", "attach") => format!("kubectl attach {name}"),
        ("pods", "portforward") => format!("kubectl port-forward {name}"),
        ("pods", "log") => {
            let follow = kind == RecordKind::Open || has(req, "follow");
            format!("kubectl logs {name}{}", if follow { " -f" } else { "" })
        }
        ("pods", "ephemeralcontainers") if !is_read(&req.verb) => format!("kubectl debug {name}"),
        ("serviceaccounts", "token") if req.verb == "create" => format!("kubectl create token {name}"),
        ("certificatesigningrequests", "approval") if !is_read(&req.verb) => {
            format!("kubectl certificate {} {name}", judged(req))
        }
        (_, "scale") if !is_read(&req.verb) => {
            let what = names::typed(resource, req.group.as_deref().unwrap_or_default(), true);
            format!("kubectl scale {} {name}", plain(&what))
        }
        (_, "status" | "scale") => {
            let what = names::typed(resource, req.group.as_deref().unwrap_or_default(), true);
            let command = command(req)?;
            format!("kubectl {command} {} {name} --subresource={subresource}", plain(&what))
        }
        _ => return None,
    };
    Some(finish(words, req))
}

/// A signing request is approved and denied at the same place, by words in the body.
fn judged(req: &Request) -> &'static str {
    match claimed(req) {
        "certificate approve" => "approve",
        "certificate deny" => "deny",
        _ => "approve|deny",
    }
}

/// What the client says it was asked to do.
fn claimed(req: &Request) -> &str {
    let claimed = req.kubectl_command.as_deref().unwrap_or_default();
    claimed.strip_prefix("kubectl ").unwrap_or(claimed).trim()
}

/// The word after `kubectl`: the client's own where it is one that leads to this verb, else the verb's.
fn command(req: &Request) -> Option<&'static str> {
    const READS: [&str; 12] = [
        "get",
        "describe",
        "wait",
        "explain",
        "events",
        "top",
        "logs",
        "diff",
        "apply",
        "edit",
        "rollout status",
        "rollout history",
    ];
    const WRITES: [&str; 18] = [
        "apply",
        "create",
        "edit",
        "patch",
        "replace",
        "label",
        "annotate",
        "scale",
        "autoscale",
        "set",
        "taint",
        "cordon",
        "uncordon",
        "drain",
        "run",
        "expose",
        "rollout restart",
        "rollout undo",
    ];
    const DELETES: [&str; 3] = ["delete", "replace", "apply"];
    let (own, fitting): (&'static str, &'static [&'static str]) = match req.verb.as_str() {
        "get" | "list" | "watch" => ("get", &READS),
        "create" => ("create", &WRITES),
        "update" => ("replace", &WRITES),
        "patch" => ("patch", &WRITES),
        "delete" | "deletecollection" => ("delete", &DELETES),
        _ => return None,
    };
    let claimed = claimed(req);
    Some(fitting.iter().find(|word| **word == claimed).copied().unwrap_or(own))
}

fn name(req: &Request) -> String {
    req.name
        .as_deref()
        .map(|name| format!(" {}", quoted(name)))
        .unwrap_or_default()
}

fn finish(mut words: String, req: &Request) -> String {
    let resource = req.resource.as_deref().unwrap_or_default();
    match req.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() && resource != "namespaces" => {
            words.push_str(" -n ");
            words.push_str(&quoted(namespace));
        }
        _ if matches!(req.verb.as_str(), "list" | "watch") && names::is_namespaced(resource) => words.push_str(" -A"),
        _ => {}
    }
    if req.dry_run {
        words.push_str(" --dry-run=server");
    }
    words
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list" | "watch")
}

fn has(req: &Request, key: &str) -> bool {
    req.query_keys.iter().any(|found| found == key)
}

/// A value in a command line: as it is when it is plain, else in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '/' | '@' | '-' | '+' | '=' | ',');
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    format!("'{}'", plain(text).replace('\'', "'\\''"))
}

/// Text without anything that a terminal or a reader could take for something else.
pub(crate) fn plain(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Marks that turn the direction of text or have no width: a name could show as another one.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
