//! Which ingress asks. Whoever is none of those that were configured learns nothing here, and is told no yes.
//!
//! An ingress says what somebody else asked for, so its word decides who is let in where. It proves itself on this very connection by a client
//! certificate, or with each question by a secret that no browser knows.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::listener::{ClientCertificate, Conn};
use crate::refusal::Refusal;

/// The header in which an ingress presents its secret.
pub static PEER_SECRET: HeaderName = HeaderName::from_static("x-gatescribe-ingress-secret");

/// The least length of a secret: 32 characters of base64 are 192 bits.
pub const LEAST_SECRET: usize = 32;

/// The ingresses that may ask.
pub struct Peers {
    certificates: Vec<(Arc<str>, Vec<Box<str>>)>,
    secrets: ArcSwap<Secrets>,
}

/// What secrets are compared with: the digests, so that all comparisons are of one length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<(Arc<str>, [u8; 32])>);

/// Why secrets are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Somebody could guess it, or it is no header's value.
    #[error(
        "a secret of peer `{0}` is shorter than {LEAST_SECRET} characters, or holds something else than visible ASCII"
    )]
    Weak(Arc<str>),
    /// One would count as the other.
    #[error("the peers `{0}` and `{1}` have the same secret")]
    Shared(Arc<str>, Arc<str>),
}

impl Secrets {
    /// The secrets of peers; white space around each does not count.
    ///
    /// # Errors
    /// See [`BadSecret`]; no word of a secret is in it.
    pub fn new<'s>(all: impl IntoIterator<Item = (Arc<str>, &'s [u8])>) -> Result<Self, BadSecret> {
        let mut secrets: Vec<(Arc<str>, [u8; 32])> = Vec::new();
        for (peer, bytes) in all {
            let bytes = bytes.trim_ascii();
            if bytes.len() < LEAST_SECRET || !bytes.iter().all(u8::is_ascii_graphic) {
                return Err(BadSecret::Weak(peer));
            }
            let hash = hash(bytes);
            if let Some((other, _)) = secrets.iter().find(|(other, known)| *known == hash && *other != peer) {
                return Err(BadSecret::Shared(Arc::clone(other), peer));
            }
            secrets.push((peer, hash));
        }
        Ok(Self(secrets))
    }

    /// Whose it is. All are compared, whichever fits.
    fn of(&self, presented: &[u8]) -> Option<Arc<str>> {
        let presented = hash(presented);
        let fits = |known: &[u8; 32]| verify_slices_are_equal(known, &presented).is_ok();
        let found = self.0.iter().fold(None, |found, (peer, known)| match fits(known) {
            true => Some(peer),
            false => found,
        });
        found.cloned()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(peer, _)| peer)).finish()
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers")
            .field("certificates", &self.certificates)
            .field("secrets", &**self.secrets.load())
            .finish()
    }
}

impl Peers {
    /// `certificates`: for each peer the DNS names of which its certificate has one.
    #[must_use]
    pub fn new(certificates: Vec<(Arc<str>, Vec<Box<str>>)>, secrets: Secrets) -> Self {
        Self {
            certificates,
            secrets: ArcSwap::from_pointee(secrets),
        }
    }

    /// Other secrets count from now on, and only they.
    pub fn replace(&self, secrets: Secrets) {
        self.secrets.store(Arc::new(secrets));
    }

    /// Which peer sends this. Its secret is taken from the headers, whoever it is.
    ///
    /// # Errors
    /// It is none of them. What is presented and bad is bad, whatever stands beside it.
    pub(super) fn proved(&self, conn: &Conn, headers: &mut HeaderMap) -> Result<Arc<str>, Refusal> {
        let bad = |why: &str| Err(Refusal::BadCredential(why.to_owned()));
        let lines: Vec<_> = headers.get_all(&PEER_SECRET).iter().cloned().collect();
        headers.remove(&PEER_SECRET);
        match conn.client_certificate() {
            ClientCertificate::Absent => {}
            ClientCertificate::Verified(chain) => {
                return match chain.first().and_then(|leaf| self.by_certificate(leaf)) {
                    Some(peer) => Ok(peer),
                    None => bad("the client certificate has no name of an ingress of `forwardAuth.peers`"),
                };
            }
            other => {
                let why = other.problem().unwrap_or_else(|| "it proves no ingress".to_owned());
                return Err(Refusal::BadCredential(why));
            }
        }
        match &lines[..] {
            [] => Err(Refusal::NoCredential),
            [one] => match self.secrets.load().of(one.as_bytes()) {
                Some(peer) => Ok(peer),
                None => bad("the secret is that of no ingress of `forwardAuth.peers`"),
            },
            _ => bad("there are two secrets of an ingress; send one"),
        }
    }

    /// Of one name is enough, and no pattern counts.
    fn by_certificate(&self, leaf: &CertificateDer<'_>) -> Option<Arc<str>> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten()?;
        let has = |wanted: &str| {
            names.value.general_names.iter().any(|name| match name {
                GeneralName::DNSName(name) => name.eq_ignore_ascii_case(wanted),
                _ => false,
            })
        };
        let found = self
            .certificates
            .iter()
            .find(|(_, wanted)| wanted.iter().any(|name| has(name)));
        found.map(|(peer, _)| Arc::clone(peer))
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = digest(&SHA256, bytes);
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio_util::sync::CancellationToken;

    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    fn secrets(all: &[(&str, &str)]) -> Result<Secrets, BadSecret> {
        Secrets::new(all.iter().map(|(peer, secret)| (Arc::from(*peer), secret.as_bytes())))
    }

    fn asks(peers: &Peers, lines: &[&str]) -> Result<String, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let conn = Conn::new(1, address, address, "verdict".into(), CancellationToken::new());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&PEER_SECRET, line.parse().unwrap());
        }
        let proved = peers.proved(&conn, &mut headers);
        assert!(headers.is_empty(), "a secret goes no further");
        proved
            .map(|peer| peer.to_string())
            .map_err(|refusal| refusal.in_words())
    }

    #[test]
    fn an_ingress_is_known_by_its_whole_secret_alone_and_by_two_while_it_is_changed() {
        let peers = Peers::new(
            Vec::new(),
            secrets(&[("edge", OLD), ("edge", NEW), ("mesh", &"m".repeat(40))]).unwrap(),
        );
        assert_eq!(asks(&peers, &[OLD]).unwrap(), "edge");
        assert_eq!(asks(&peers, &[NEW]).unwrap(), "edge");
        assert_eq!(asks(&peers, &[&"m".repeat(40)]).unwrap(), "mesh");
        let unknown = "the secret is that of no ingress of `forwardAuth.peers`";
        for wrong in [
            "",
            "x",
            OLD.strip_suffix('f').unwrap(),
            &format!("{OLD}x"),
            &OLD.to_uppercase(),
            &format!("{OLD},{NEW}"),
        ] {
            assert_eq!(asks(&peers, &[wrong]).unwrap_err(), unknown, "{wrong}");
        }
        assert_eq!(asks(&peers, &[]).unwrap_err(), "no credential was presented");
        assert_eq!(
            asks(&peers, &[OLD, OLD]).unwrap_err(),
            "there are two secrets of an ingress; send one"
        );
        peers.replace(secrets(&[("edge", NEW)]).unwrap());
        assert_eq!(asks(&peers, &[OLD]).unwrap_err(), unknown, "it has been changed");
        assert!(!format!("{peers:?}").contains(NEW));
    }

    #[test]
    fn a_secret_that_could_be_guessed_or_is_shared_is_none() {
        let weak = |text: &str| secrets(&[("edge", text)]).unwrap_err().to_string();
        for text in [
            "",
            "short",
            "0123456789abcdef 0123456789abcdef",
            "ä".repeat(32).as_str(),
        ] {
            assert_eq!(
                weak(text),
                "a secret of peer `edge` is shorter than 32 characters, or holds something else than visible ASCII"
            );
        }
        assert!(
            secrets(&[("edge", &format!(" {OLD}\n"))]).is_ok(),
            "a file ends with a line's end"
        );
        assert_eq!(
            secrets(&[("edge", OLD), ("mesh", OLD)]).unwrap_err().to_string(),
            "the peers `edge` and `mesh` have the same secret"
        );
    }

    #[test]
    fn a_certificate_names_an_ingress_by_one_whole_name() {
        let made = |names: &[&str], common_name: &str| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut parameters = rcgen::CertificateParams::new(names).unwrap();
            parameters
                .distinguished_name
                .push(rcgen::DnType::CommonName, common_name);
            let key = rcgen::KeyPair::generate().unwrap();
            parameters.self_signed(&key).unwrap().der().clone()
        };
        let peers = Peers::new(
            vec![("mesh".into(), vec!["envoy.ingress.svc".into()])],
            Secrets::default(),
        );
        let of = |names: &[&str], common_name| {
            peers
                .by_certificate(&made(names, common_name))
                .map(|peer| peer.to_string())
        };
        assert_eq!(of(&["envoy.ingress.svc"], "x").as_deref(), Some("mesh"));
        assert_eq!(of(&["a.example", "ENVOY.ingress.svc"], "x").as_deref(), Some("mesh"));
        for names in [
            &["*.ingress.svc"][..],
            &["envoy.ingress.svc.evil.example"],
            &["x.envoy.ingress.svc"],
            &[],
        ] {
            assert_eq!(of(names, "envoy.ingress.svc"), None, "{names:?}: a common name is none");
        }
    }
}
