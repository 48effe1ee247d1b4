//! What stands in place of a value: a keyed digest, so that equal values are seen as equal and none can be read.
//!
//! HMAC-SHA-256, cut to 128 bits. Its keys are derived: one for each cluster, and below it one for each [`Domain`], so that a value in
//! one domain cannot be compared with one in another. What that is worth, and what not, stands in docs/decisions/0015: without the
//! key a short secret cannot be guessed; with it, or by somebody who may write into the same domain and read the records, it can.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What kind of place a masked value stands in. Digests of two domains have different keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// `data` and `stringData` of a Secret; what stands in a Secret in an unknown place.
    Secret,
    /// Tokens of TokenReview and TokenRequest.
    Token,
    /// `data` and `binaryData` of a ConfigMap.
    Config,
    /// `value` of an environment variable.
    Env,
    /// The value of an annotation.
    Annotation,
    /// Any other text.
    Text,
    /// A number in a place that is not known.
    Number,
    /// The key of a member.
    Key,
    /// A whole part of the document.
    Tree,
}

impl Domain {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Secret,
        Self::Token,
        Self::Config,
        Self::Env,
        Self::Annotation,
        Self::Text,
        Self::Number,
        Self::Key,
        Self::Tree,
    ];

    /// The letter in a document.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Secret => 's',
            Self::Token => 't',
            Self::Config => 'c',
            Self::Env => 'e',
            Self::Annotation => 'a',
            Self::Text => 'o',
            Self::Number => 'n',
            Self::Key => 'k',
            Self::Tree => 'x',
        }
    }

    pub(crate) fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|domain| domain.letter() == letter)
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// The keys of one cluster.
pub struct DigestKey {
    keys: [hmac::Key; Domain::ALL.len()],
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

impl DigestKey {
    /// From 32 random bytes, which must not be used for anything else, and the cluster's name.
    #[must_use]
    pub fn new(secret: &[u8; 32], cluster: &str) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let named = format!("gatescribe payload v1\0{cluster}");
        let of_cluster = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, named.as_bytes()).as_ref());
        let keys = Domain::ALL.map(|domain| {
            let label = format!("domain\0{}", domain.letter());
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&of_cluster, label.as_bytes()).as_ref())
        });
        Self { keys }
    }

    /// The mask of these bytes in this domain.
    pub(crate) fn mask(&self, domain: Domain, bytes: &[u8]) -> Mask {
        let [first, ..] = &self.keys;
        let key = self.keys.get(domain.index()).unwrap_or(first);
        let tag = hmac::sign(key, bytes);
        let mut digest = [0; DIGEST_LEN];
        for (to, from) in digest.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        Mask {
            domain,
            class: Class::of(bytes.len()),
            digest,
            is_alarm: false,
            origin: None,
        }
    }
}

const DIGEST_LEN: usize = 16;

/// How long a masked value is, roughly: empty, up to 16 bytes, and from there each class is four times as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class(u8);

impl Class {
    const LAST: u8 = 9;

    fn of(length: usize) -> Self {
        if length == 0 {
            return Self(0);
        }
        let (mut class, mut most) = (1, 16_usize);
        while class < Self::LAST && length > most {
            class = class.saturating_add(1);
            most = most.saturating_mul(4);
        }
        Self(class)
    }

    fn digit(self) -> char {
        char::from_digit(u32::from(self.0), 10).unwrap_or('9')
    }

    /// The most bytes of this class; `None`: no bound.
    #[must_use]
    pub fn most(self) -> Option<usize> {
        match self.0 {
            0 => Some(0),
            class if class < Self::LAST => Some(16_usize << (2 * u32::from(class.saturating_sub(1)))),
            _ => None,
        }
    }
}

/// What stands in place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    domain: Domain,
    class: Class,
    digest: [u8; DIGEST_LEN],
    /// It stood in a place that is shown, and has the form of a secret.
    is_alarm: bool,
    /// Of a URL, where it leads to.
    origin: Option<Box<str>>,
}

impl Mask {
    /// What kind of place it stands in.
    #[must_use]
    pub const fn domain(&self) -> Domain {
        self.domain
    }

    /// How long the value is, roughly.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// Whether a secret seems to stand where none belongs.
    #[must_use]
    pub const fn is_alarm(&self) -> bool {
        self.is_alarm
    }

    /// Scheme, host and port of a URL whose rest is masked.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    pub(crate) fn alarming(self) -> Self {
        Self { is_alarm: true, ..self }
    }

    pub(crate) fn leading_to(self, origin: &str) -> Self {
        Self {
            origin: Some(origin.into()),
            ..self
        }
    }

    /// In one word: `!` for an alarm, the domain's letter, the class, the digest.
    pub(crate) fn word(&self) -> String {
        let alarm = if self.is_alarm { "!" } else { "" };
        let digest = URL_SAFE_NO_PAD.encode(self.digest);
        format!("{alarm}{}{}.{digest}", self.domain.letter(), self.class.digit())
    }

    /// Reads [`Self::word`].
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let (is_alarm, rest) = match word.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, word),
        };
        let (head, digest) = rest.split_once('.')?;
        let mut head = head.chars();
        let domain = Domain::of_letter(head.next()?)?;
        let class = Class(u8::try_from(head.next()?.to_digit(10)?).ok()?);
        let digest = URL_SAFE_NO_PAD.decode(digest).ok()?.try_into().ok()?;
        let is_whole = head.next().is_none();
        is_whole.then_some(Self {
            domain,
            class,
            digest,
            is_alarm,
            origin: None,
        })
    }
}
