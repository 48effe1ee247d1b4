//! A kubeconfig (`client.authentication.k8s.io` v1 `Config`) turned into explicit settings.
//!
//! The format is kubectl's, so unknown keys are none of our business; keys that change *who* speaks or *what* is verified are
//! read and, where this gateway does not do them, refused by name. Nothing of that kind is ignored.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::ReachError;
use crate::source::{Authorities, CredentialSource, Explicit};

/// Reads `path` and takes `context` (default: `current-context`) of it.
pub(crate) fn read(path: &Path, context: Option<&str>, observer: Option<&str>) -> Result<Explicit, ReachError> {
    let text = std::fs::read_to_string(path).map_err(|cause| ReachError::Unreadable {
        path: path.to_owned(),
        cause: Arc::new(cause),
    })?;
    let config: Config = serde_saphyr::from_str(&text).map_err(|cause| ReachError::KubeconfigSyntax {
        path: path.to_owned(),
        cause: Arc::new(cause),
    })?;
    let file = File { path, config };
    let chosen = file.context(context.unwrap_or(&file.config.current_context))?;
    let (servers, authorities, tls_server_name) = file.cluster(&chosen.cluster)?;
    let impersonator = file.user(&chosen.user)?;
    let observer = match observer {
        None => impersonator.clone(),
        Some(name) => {
            let other = file.context(name)?;
            if other.cluster != chosen.cluster {
                return Err(file.refused(name, "cluster", "the observer's context must name the same cluster"));
            }
            file.user(&other.user)?
        }
    };
    Ok(Explicit {
        servers,
        authorities,
        tls_server_name,
        impersonator,
        observer,
    })
}

struct File<'a> {
    path: &'a Path,
    config: Config,
}

impl File<'_> {
    fn context(&self, name: &str) -> Result<&Context, ReachError> {
        let found = self.config.contexts.iter().find(|one| one.name == name);
        found
            .map(|one| &one.context)
            .ok_or_else(|| self.missing("context", name))
    }

    fn cluster(&self, name: &str) -> Result<(Vec<String>, Authorities, Option<String>), ReachError> {
        let found = self.config.clusters.iter().find(|one| one.name == name);
        let cluster = &found.ok_or_else(|| self.missing("cluster", name))?.cluster;
        if cluster.insecure_skip_tls_verify {
            let remedy = "the server's certificate is always verified; set `certificate-authority`";
            return Err(self.refused(name, "insecure-skip-tls-verify", remedy));
        }
        if cluster.proxy_url.is_some() {
            return Err(self.refused(name, "proxy-url", "connections go straight to the server"));
        }
        let authorities = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
            (Some(data), _) => Authorities::Pem(self.decode(name, "certificate-authority-data", data)?),
            (None, Some(path)) => Authorities::File(self.resolve(path)),
            (None, None) => Authorities::System,
        };
        Ok((
            vec![cluster.server.clone()],
            authorities,
            cluster.tls_server_name.clone(),
        ))
    }

    fn user(&self, name: &str) -> Result<CredentialSource, ReachError> {
        let found = self.config.users.iter().find(|one| one.name == name);
        let user = &found.ok_or_else(|| self.missing("user", name))?.user;
        self.refuse_other_ways(name, user)?;
        if let Some(path) = &user.token_file {
            return Ok(CredentialSource::TokenFile(self.resolve(path)));
        }
        if let Some(token) = &user.token {
            return Ok(CredentialSource::Token(token.clone()));
        }
        let certificate = match (&user.client_certificate_data, &user.client_certificate) {
            (Some(data), _) => Part::Value(self.decode(name, "client-certificate-data", data)?),
            (None, Some(path)) => Part::File(self.resolve(path)),
            (None, None) => return Err(self.refused(name, "user", "it has neither token nor client certificate")),
        };
        let key = match (&user.client_key_data, &user.client_key) {
            (Some(data), _) => Part::Value(self.decode(name, "client-key-data", data)?),
            (None, Some(path)) => Part::File(self.resolve(path)),
            (None, None) => return Err(self.refused(name, "client-certificate", "it has no `client-key`")),
        };
        match (certificate, key) {
            (Part::File(certificate), Part::File(key)) => Ok(CredentialSource::CertificateFiles { certificate, key }),
            (Part::Value(certificate), Part::Value(key)) => Ok(CredentialSource::CertificatePem { certificate, key }),
            (Part::File(_), Part::Value(_)) | (Part::Value(_), Part::File(_)) => Err(self.refused(
                name,
                "client-key",
                "give certificate and key both as files or both as data",
            )),
        }
    }

    fn refuse_other_ways(&self, name: &str, user: &User) -> Result<(), ReachError> {
        const TOKEN: &str = "use a token file or a client certificate";
        let impersonation = "the impersonator must not impersonate on its way in";
        let ways = [
            ("exec", user.exec.is_some(), TOKEN),
            ("auth-provider", user.auth_provider.is_some(), TOKEN),
            ("username", user.username.is_some() || user.password.is_some(), TOKEN),
            (
                "as",
                user.r#as.is_some() || user.as_groups.is_some() || user.as_uid.is_some(),
                impersonation,
            ),
        ];
        match ways.into_iter().find(|(_, used, _)| *used) {
            Some((field, _, remedy)) => Err(self.refused(name, field, remedy)),
            None => Ok(()),
        }
    }

    /// Paths in a kubeconfig are relative to it, as kubectl has it.
    fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn decode(&self, name: &str, field: &'static str, data: &str) -> Result<Vec<u8>, ReachError> {
        STANDARD
            .decode(data.trim())
            .map_err(|_| self.refused(name, field, "it is no base64"))
    }

    fn missing(&self, kind: &'static str, name: &str) -> ReachError {
        ReachError::KubeconfigMissing {
            path: self.path.to_owned(),
            kind,
            name: name.to_owned(),
        }
    }

    fn refused(&self, name: &str, field: &'static str, remedy: &'static str) -> ReachError {
        ReachError::KubeconfigRefused {
            path: self.path.to_owned(),
            name: name.to_owned(),
            field,
            remedy,
        }
    }
}

enum Part {
    File(PathBuf),
    Value(Vec<u8>),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(default)]
    current_context: String,
    #[serde(default)]
    contexts: Vec<NamedContext>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
    tls_server_name: Option<String>,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    exec: Option<serde_json::Value>,
    auth_provider: Option<serde_json::Value>,
    username: Option<String>,
    password: Option<String>,
    r#as: Option<String>,
    as_groups: Option<Vec<String>>,
    as_uid: Option<String>,
}
