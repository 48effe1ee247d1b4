//! Bodies of every kind and format, canaries in them, and what remains. The parsers and tables have tests of their own beside them.

mod bodies;
mod canary;
mod formats;
mod generate;
mod readings;
mod work;

use crate::{About, Body, DigestKey, Document, Limits, Masker, Recorded, Side, Why};

fn masker() -> Masker {
    let limits = Limits {
        document: 8 << 20,
        ..Limits::default()
    };
    Masker::new(DigestKey::new(&[7; 32], "prod"), limits, false)
}

fn about_of<'a>(api_version: &'a str, resource: &'a str) -> About<'a> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    About {
        group,
        version,
        resource,
        subresource: "",
        side: Side::Request,
    }
}

fn read(bytes: &[u8], media: &str, about: &About<'_>) -> Result<Document, Why> {
    read_by(&masker(), bytes, media, about)
}

fn read_by(masker: &Masker, bytes: &[u8], media: &str, about: &About<'_>) -> Result<Document, Why> {
    let body = Body {
        bytes,
        is_whole: true,
        content_type: Some(media),
        content_encoding: None,
    };
    match masker.mask(&body, about) {
        Recorded::Document(document) => Ok(document),
        Recorded::Opaque(opaque) => Err(opaque.why),
    }
}

fn document(text: &str, media: &str, about: &About<'_>) -> Document {
    read(text.as_bytes(), media, about).unwrap()
}
