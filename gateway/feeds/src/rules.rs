//! Rule files: `AccessRule`s and RBAC objects in YAML, read again when they change. Whole or not at all.
//!
//! Folders are compared by content, every few seconds and whenever the system says that something changed: a projected
//! volume swaps a symbolic link, which watches of single files miss.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::rule::{FilePolicy, LoadProblem, load_files};
use notify::Watcher as _;
use tokio::sync::{mpsc, watch};

/// The policy of the rule files as they stand.
#[derive(Debug, Default)]
pub struct RuleFiles {
    /// Rules and objects.
    pub policy: FilePolicy,
    /// Changes with every byte of any file.
    pub digest: String,
}

/// Why the files are not taken.
#[derive(Debug, thiserror::Error)]
pub enum RuleFilesError {
    /// A file or folder cannot be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// They have mistakes; all of them are here.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<LoadProblem>),
}

/// Without any word from the system, files are compared this often.
const COMPARE_EVERY: Duration = Duration::from_secs(10);

/// Reads all files now.
///
/// # Errors
/// See [`RuleFilesError`]; nothing is taken then.
pub fn read(paths: &[PathBuf]) -> Result<RuleFiles, RuleFilesError> {
    parse(&texts(paths)?)
}

fn parse(texts: &BTreeMap<String, String>) -> Result<RuleFiles, RuleFilesError> {
    let policy =
        load_files(texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))).map_err(RuleFilesError::Wrong)?;
    Ok(RuleFiles {
        policy,
        digest: format!("{texts:?}"),
    })
}

fn texts(paths: &[PathBuf]) -> Result<BTreeMap<String, String>, RuleFilesError> {
    let mut texts = BTreeMap::new();
    for path in paths {
        for file in files(path)? {
            let unreadable = |source| RuleFilesError::Unreadable {
                path: file.display().to_string(),
                source,
            };
            texts.insert(
                file.display().to_string(),
                std::fs::read_to_string(&file).map_err(unreadable)?,
            );
        }
    }
    Ok(texts)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, RuleFilesError> {
    let unreadable = |source| RuleFilesError::Unreadable {
        path: path.display().to_string(),
        source,
    };
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_yaml = file
            .extension()
            .is_some_and(|ending| ending == "yaml" || ending == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Publishes the files whenever they change and are right as a whole. Wrong ones are told, and the old policy stays.
/// Other `paths` count from the moment they come; the end of their channel ends this.
pub async fn keep_fresh(mut paths: watch::Receiver<Vec<PathBuf>>, publish: watch::Sender<Arc<RuleFiles>>) {
    loop {
        let now = paths.borrow_and_update().clone();
        tokio::select! {
            () = follow(now, &publish) => return,
            changed = paths.changed() => if changed.is_err() { return },
        }
    }
}

async fn follow(paths: Vec<PathBuf>, publish: &watch::Sender<Arc<RuleFiles>>) {
    let (wake, mut woken) = mpsc::channel::<()>(1);
    // The first look is due at once: these may be other files than before.
    let _ = wake.try_send(());
    // Dropped at the end of this function, which ends the watching.
    let _watcher = watcher(&paths, wake);
    let mut refused = None;
    loop {
        tokio::select! {
            _ = woken.recv() => {}
            () = tokio::time::sleep(COMPARE_EVERY) => {}
            () = publish.closed() => return,
        }
        let read = match tokio::task::spawn_blocking({
            let paths = paths.clone();
            move || read(&paths)
        })
        .await
        {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(error = %error, "the rule files could not be looked at");
                continue;
            }
        };
        match read {
            Ok(files) if files.digest == publish.borrow().digest => refused = None,
            Ok(files) => {
                refused = None;
                tracing::info!(
                    rules = files.policy.rules.len(),
                    "the rule files have changed and are in effect"
                );
                publish.send_replace(Arc::new(files));
            }
            Err(error) => {
                let words = error.to_string();
                if refused.as_ref() != Some(&words) {
                    tracing::error!(
                        error = words,
                        "the rule files have mistakes; the old rules stay in effect"
                    );
                    refused = Some(words);
                }
            }
        }
    }
}

fn watcher(paths: &[PathBuf], wake: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    // A full channel means that a look is due anyway.
    let tell = move |_| {
        let _ = wake.try_send(());
    };
    let mut watcher = notify::recommended_watcher(tell)
        .inspect_err(|error| tracing::warn!(error = %error, "files are compared by time alone"))
        .ok()?;
    for path in paths {
        let folder = if path.is_dir() {
            path.as_path()
        } else {
            path.parent().unwrap_or(path)
        };
        if let Err(error) = watcher.watch(folder, notify::RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), error = %error, "a folder is compared by time alone");
        }
    }
    Some(watcher)
}
