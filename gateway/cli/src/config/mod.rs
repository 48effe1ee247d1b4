//! The configuration: one YAML file, strict. All mistakes are said at once, with file, line, column and what to do
//! (promise 9). Secrets are references; they are read here once the file is known to be right.

mod certificates;
mod check;
mod forward_auth;
mod limits;
mod problem;
mod schema;
pub(crate) mod shared_names;
mod tree;
mod types;
mod value;
mod witnesses;

use std::path::Path;

pub(crate) use self::certificates::socket;
pub use self::certificates::{ClientCertificates, Workloads};
pub use self::forward_auth::{ForwardAuth, IngressPeer};
pub use self::limits::Limits;
pub use self::problem::{Problem, Problems};
pub use self::types::{
    Admin, ApiVersion, Audit, AuditHidden, AuditMay, AuditRole, Authorization, Bound, Claims, Cluster, Config,
    Credential, FailMode, FailModes, Format, Identity, Ledger, Level, Listener, Log, Names, Otlp, Policy, Provider,
    RecordedSessions, Recording, Serves, ServiceAccounts, Session, Telemetry, Tls, Witness,
};
pub use self::value::{Secret, Size, Span};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{file}`")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file has mistakes.
    #[error("the configuration has mistakes")]
    Wrong(Problems),
    /// A secret cannot be read.
    #[error("cannot read the secret {reference}: {why}")]
    Secret {
        /// Where it should be.
        reference: String,
        /// Why not.
        why: String,
    },
}

/// Files larger than this are no configuration of ours.
const MAX_BYTES: usize = 1 << 20;

/// Reads and checks a file.
///
/// # Errors
/// See [`ConfigError`].
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        file: file.clone(),
        source,
    })?;
    parse(&file, &text).map_err(ConfigError::Wrong)
}

/// Checks a configuration that is at hand; `file` names it in problems.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &str, text: &str) -> Result<Config, Problems> {
    let wrong = |list| Problems::new(file, text, list);
    if text.len() > MAX_BYTES {
        return Err(wrong(vec![Problem::syntax(
            format!("the file is larger than {MAX_BYTES} bytes"),
            0..0,
        )]));
    }
    let root = tree::Node::parse(text).map_err(wrong)?;
    let found = schema::problems(&json_schema(), &root);
    if !found.is_empty() {
        return Err(wrong(found));
    }
    let config: Config = serde_json::from_value(root.value()).map_err(|error| {
        wrong(vec![Problem::new(
            error.to_string(),
            "somewhere in this file",
            root.span.clone(),
            "this should have been found by the schema: please report it",
        )])
    })?;
    let found = check::problems(&config, &root);
    if found.is_empty() {
        Ok(config)
    } else {
        Err(wrong(found))
    }
}

/// The same problem as [`parse`] finds where a cluster's issuer is written in the file, for one that was learnt elsewhere.
pub(crate) fn account_issuer(path: &Path, provider: usize, cluster: &str) -> ConfigError {
    let file = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) => return ConfigError::Unreadable { file, source },
    };
    let found = tree::Node::parse(&text).map(|root| vec![check::account_issuer(&root, provider, cluster)]);
    ConfigError::Wrong(Problems::new(&file, &text, found.unwrap_or_else(|found| found)))
}

/// The JSON Schema of the configuration (draft 2020-12), for editors and for the reference page.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

/// Reads a secret from where it is kept. One final line end is cut.
///
/// # Errors
/// It is not there, or empty.
pub fn secret(reference: &Secret) -> Result<String, ConfigError> {
    let fail = |why: String| ConfigError::Secret {
        reference: reference.to_string(),
        why,
    };
    let text = match reference {
        Secret::Environment(name) => std::env::var(name).map_err(|_| fail("the variable is not set".to_owned()))?,
        Secret::File(path) => std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?,
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        Err(fail("it is empty".to_owned()))
    } else {
        Ok(text.to_owned())
    }
}

/// Entry for the fuzzer: any bytes are a configuration or a list of problems that can be shown, never a panic.
pub fn fuzz_configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(problems) = parse("fuzz.yaml", text) {
        assert!(!problems.list().is_empty(), "a refusal says why");
        let _ = (problems.for_a_person(false, 80), problems.for_a_machine());
    }
}

#[cfg(test)]
mod tests;
