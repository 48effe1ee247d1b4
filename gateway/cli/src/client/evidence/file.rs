//! The file: a page with the evidence in it as a block of data.
//!
//! Everything around the data is the same in every file of one version, so that a page which somebody changed is seen by comparing.
//! The page shows what it reads from the data, and nothing is written twice. No character of the data means anything to HTML
//! ([`ledger::evidence`]): whatever stands in a record, it stays data.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::evidence::{Evidence, EvidenceError, MAX_EVIDENCE_LEN};
use ledger::note::Note;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
/// Where the data begin and end.
const BEGIN: &str = "<script type=\"text/plain\" id=\"evidence\">\n";
const END: &str = "</script>";
/// What says which version's page it is.
const VERSION: &str = concat!(
    "<meta name=\"generator\" content=\"gatescribe ",
    env!("CARGO_PKG_VERSION"),
    ", evidence page 4\">"
);
/// How long a page may be besides its data.
const MAX_PAGE_LEN: usize = 1 << 20;
/// The longest file that is read, in bytes.
pub(crate) const MAX_FILE_LEN: usize = MAX_EVIDENCE_LEN + MAX_PAGE_LEN;

/// What stands before and behind the data.
static AROUND: LazyLock<(String, String)> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let script = SCRIPT.replace("BODY_HASH", &hash(&said()));
    let page = PAGE
        .replace("<!-- version -->", VERSION)
        .replace("STYLE_HASH", &hash(STYLE))
        .replace("SCRIPT_HASH", &hash(&script))
        .replace("/* style */", STYLE)
        .replace("/* script */", &script);
    let (before, behind) = page.split_once("<!-- evidence -->").unwrap_or((&page, ""));
    (format!("{before}{BEGIN}"), format!("{END}{behind}"))
});

/// All that the body says around the data and the script, without white space, as a browser writes it out: the page compares it with itself.
fn said() -> String {
    let body = PAGE.split_once("<body>").map_or("", |(_, body)| body);
    let around = body
        .replace("<!-- evidence -->", "")
        .replace("<script>/* script */</script>", "");
    let around = around.replace("</body>", "").replace("</html>", "");
    around.split_ascii_whitespace().collect()
}

/// What a file is around its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// The page of this version, byte for byte.
    Page,
    /// The page of another version, by its own word: what it shows was not compared.
    Other,
    /// Says to be the page of this version, and is not.
    Changed,
    /// Nothing: the evidence alone, as a gateway hands it out.
    Nothing,
}

/// The whole file.
pub(super) fn wrap(evidence: &str) -> String {
    let (before, behind) = &*AROUND;
    format!("{before}{evidence}{behind}")
}

/// The evidence in a file, and what stands around it.
pub(super) fn unwrap(file: &[u8]) -> (Around, Result<Evidence, EvidenceError>) {
    let (before, behind) = &*AROUND;
    let own = file.strip_prefix(before.as_bytes());
    if let Some(data) = own.and_then(|rest| rest.strip_suffix(behind.as_bytes())) {
        return (Around::Page, Evidence::parse(data));
    }
    let text = String::from_utf8_lossy(file);
    let Some((head, rest)) = text.split_once(BEGIN) else {
        return (Around::Nothing, Evidence::parse(file));
    };
    let around = if head.contains(VERSION) {
        Around::Changed
    } else {
        Around::Other
    };
    let data = rest.split_once(END).map_or(rest, |(data, _)| data);
    (around, Evidence::parse(data.as_bytes()))
}

/// The checkpoint in a file of evidence, if it is one.
pub(crate) fn checkpoint_of_pack(file: &[u8]) -> Option<Note> {
    let (_, evidence) = unwrap(file);
    evidence.ok().map(|evidence| evidence.note().clone())
}

/// Whether this is a file of evidence, be it damaged.
pub(crate) fn is_pack(file: &[u8]) -> bool {
    !matches!(unwrap(file), (Around::Nothing, Err(EvidenceError::Header)))
}

/// Reads foreign bytes as a file of evidence. Never panics; what is read from it is found again in a new file.
pub fn fuzz_evidence_file(data: &[u8]) {
    ledger::fuzz_evidence(data);
    if let (_, Ok(evidence)) = unwrap(data) {
        let again = unwrap(wrap(&evidence.to_string()).as_bytes());
        assert_eq!(again, (Around::Page, Ok(evidence)), "a file is read as it was written");
    }
}
