//! Debian's Chromium, for what a page does in a real browser: without network, driven by `counterparts/browser/look.mjs`.
//! What a person does in one that stays open is [`crate::window`]'s.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::counterparts::repository;
use crate::kubectl::run;
use crate::tools::debian;
use crate::wait::PATIENCE;

/// The browser and what a bare machine lacks of what it stands on; the C library and its like are there.
const PACKAGES: &[&str] = &[
    "chromium-headless-shell",
    "chromium-common",
    "libasound2",
    "libasyncns0",
    "libatk1.0-0",
    "libatspi2.0-0",
    "libbrotli1",
    "libbsd0",
    "libdav1d6",
    "libdbus-1-3",
    "libdouble-conversion3",
    "libdrm2",
    "libexpat1",
    "libffi8",
    "libflac12",
    "libfontconfig1",
    "libfreetype6",
    "libgbm1",
    "libglib2.0-0",
    "libgraphite2-3",
    "libharfbuzz-subset0",
    "libharfbuzz0b",
    "libjpeg62-turbo",
    "liblcms2-2",
    "libmd0",
    "libminizip1",
    "libmp3lame0",
    "libmpg123-0",
    "libnspr4",
    "libnss3",
    "libogg0",
    "libopenh264-7",
    "libopenjp2-7",
    "libopus0",
    "libpng16-16",
    "libpulse0",
    "libsndfile1",
    "libvorbis0a",
    "libvorbisenc2",
    "libwayland-server0",
    "libx11-6",
    "libx11-xcb1",
    "libxau6",
    "libxcb1",
    "libxcomposite1",
    "libxdamage1",
    "libxdmcp6",
    "libxext6",
    "libxfixes3",
    "libxi6",
    "libxkbcommon0",
    "libxnvctrl0",
    "libxrandr2",
    "libxrender1",
];

/// What the scripts have to know to start it with this profile: its program and what that stands on.
///
/// # Errors
/// The browser cannot be had.
pub(crate) fn order(profile: &Path) -> anyhow::Result<Value> {
    let set = debian(PACKAGES)?;
    let program = set.root().join("usr/lib/chromium/chromium-headless-shell");
    ensure!(program.is_file(), "no browser at {}", program.display());
    let libraries = set
        .root()
        .join("usr/lib")
        .join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let sound = libraries.join("pulseaudio");
    let libraries = format!("{}:{}", libraries.display(), sound.display());
    Ok(json!({"program": program, "libraries": libraries, "profile": profile}))
}

/// A script that drives it.
pub(crate) fn script(name: &str) -> PathBuf {
    repository().join("tests/counterparts/browser").join(name)
}

/// Opens these pages one after another, each an object as `look.mjs` takes it, and gives what each of them shows.
///
/// # Errors
/// The browser cannot be had or does not run, or a page never concludes.
pub fn look(pages: &[Value]) -> anyhow::Result<Vec<Value>> {
    let profile = tempfile::TempDir::with_prefix("gatescribe-browser-")?;
    let mut order = order(profile.path())?;
    order["pages"] = json!(pages);
    let mut command = Command::new("node");
    command.arg(script("look.mjs")).arg(order.to_string());
    let told = run(command, "", PATIENCE)?;
    ensure!(told.code == 0, "the browser: {told}");
    serde_json::from_str(&told.stdout).with_context(|| told.to_string())
}
