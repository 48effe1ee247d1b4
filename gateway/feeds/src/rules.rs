//! Rule files: `AccessRule`s and RBAC objects in YAML, read again when they change. Whole or not at all.
//!
//! Folders are compared by content, every few seconds and whenever the system says that something changed: a projected
//! volume swaps a symbolic link, which watches of single files miss.

use std::collections::BTreeMap;
use std::future::Future;
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
    texts: Texts,
}

/// What stands in each file.
type Texts = BTreeMap<String, String>;

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
/// Between two readings that have to agree.
const SETTLE: Duration = Duration::from_millis(100);
/// Files that are different so many times in a row are not being saved but used for something else.
const READINGS: usize = 50;
/// With this line a file says that it is meant to have no rules.
const NO_RULES: &str = "# no rules";

/// Reads all files now.
///
/// # Errors
/// See [`RuleFilesError`]; nothing is taken then.
pub fn read(paths: &[PathBuf]) -> Result<RuleFiles, RuleFilesError> {
    parse(texts(paths)?)
}

fn parse(texts: Texts) -> Result<RuleFiles, RuleFilesError> {
    let policy =
        load_files(texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))).map_err(RuleFilesError::Wrong)?;
    Ok(RuleFiles {
        policy,
        digest: format!("{texts:?}"),
        texts,
    })
}

fn texts(paths: &[PathBuf]) -> Result<Texts, RuleFilesError> {
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
        let read = || {
            let paths = paths.clone();
            async move {
                let read = tokio::task::spawn_blocking(move || texts(&paths)).await;
                read.map_err(|error| error.to_string())?.map_err(in_one_line)
            }
        };
        let now = publish.borrow().clone();
        match settled(read).await.and_then(|texts| now.followed_by(texts)) {
            Ok(None) => refused = None,
            Ok(Some(files)) => {
                refused = None;
                files.tell_remarks(&now);
                tracing::info!(
                    rules = files.policy.rules.len(),
                    "the rule files have changed and are in effect"
                );
                publish.send_replace(Arc::new(files));
            }
            Err(words) => {
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

fn in_one_line(error: RuleFilesError) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What two readings one after the other agree on. Whoever writes a file in place empties it first and fills it then; what
/// is read between the two is nobody's policy.
async fn settled<F, R>(read: F) -> Result<Texts, String>
where
    F: Fn() -> R,
    R: Future<Output = Result<Texts, String>>,
{
    let mut last = read().await;
    for _ in 0..READINGS {
        tokio::time::sleep(SETTLE).await;
        let next = read().await;
        if next == last {
            return next;
        }
        last = next;
    }
    Err("they change all the time: write them once, or put a new file in the place of the old one".to_owned())
}

impl RuleFiles {
    /// Logs what is to say about rules though they count, but for what was said of `before`.
    pub fn tell_remarks(&self, before: &Self) {
        for remark in &self.policy.remarks {
            let same =
                |old: &LoadProblem| (&old.source, &old.rule, &old.what) == (&remark.source, &remark.rule, &remark.what);
            if !before.policy.remarks.iter().any(same) {
                tracing::warn!(
                    file = remark.source,
                    line = remark.line,
                    column = remark.column,
                    rule = remark.rule,
                    remark = remark.what,
                    "a rule counts, and may not do what it seems to say"
                );
            }
        }
    }

    /// The policy that these files make after this one; `None` when they are the same.
    fn followed_by(&self, texts: Texts) -> Result<Option<Self>, String> {
        if texts == self.texts {
            return Ok(None);
        }
        for (file, text) in &texts {
            let had_rules = self.texts.get(file).is_some_and(|text| !is_blank(text));
            if had_rules && is_blank(text) && !text.lines().any(|line| line.trim() == NO_RULES) {
                return Err(format!(
                    "`{file}` had rules and is empty now: take it out of `policy.rules`, or write the line `{NO_RULES}` into it, if that is meant"
                ));
            }
        }
        parse(texts).map(Some).map_err(in_one_line)
    }
}

/// Whether no document stands in a file: blank lines, comments and separators only.
fn is_blank(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;

    const FORBID: &str = "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: { name: no-shells }\nspec:\n  effect: forbid\n  subjects: { groups: [\"*\"] }\n  kubernetes: { verbs: [\"*\"], resources: [pods/exec] }\n";

    fn one(text: &str) -> Texts {
        [("rules.yaml".to_owned(), text.to_owned())].into()
    }

    fn with_rules() -> RuleFiles {
        parse(one(FORBID)).unwrap()
    }

    /// Readings that give these texts one after the other, then the last one for ever.
    async fn settle(readings: &[&str]) -> (Result<Texts, String>, Duration) {
        let left: RefCell<VecDeque<&str>> = RefCell::new(readings.iter().copied().collect());
        let began = tokio::time::Instant::now();
        let read = || {
            let mut left = left.borrow_mut();
            let text = if left.len() > 1 {
                left.pop_front()
            } else {
                left.front().copied()
            };
            std::future::ready(Ok(one(text.unwrap())))
        };
        (settled(read).await, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_in_a_file_while_it_is_written_is_never_taken() {
        let half = FORBID.split_at(80).0;
        for readings in [
            vec![FORBID],
            vec!["", FORBID],
            vec!["", half, FORBID],
            vec![half, "", half, FORBID],
        ] {
            let (texts, took) = settle(&readings).await;
            assert_eq!(texts, Ok(one(FORBID)), "{readings:?}");
            assert_eq!(took, SETTLE * u32::try_from(readings.len()).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_never_settle_are_told_and_end_the_look() {
        let turns: Vec<String> = (0..200).map(|turn| format!("# {turn}")).collect();
        let turns: Vec<&str> = turns.iter().map(String::as_str).collect();
        let (texts, _) = settle(&turns).await;
        assert!(texts.unwrap_err().starts_with("they change all the time"));
    }

    #[test]
    fn a_file_that_had_rules_and_is_empty_keeps_the_old_ones_unless_it_says_so_in_words() {
        let now = with_rules();
        for empty in [
            "",
            "\n\n",
            "---\n",
            "# rules of the shop\n",
            "# no rules at all, or not yet\n",
        ] {
            let told = now.followed_by(one(empty)).unwrap_err();
            assert!(
                told.starts_with("`rules.yaml` had rules and is empty now"),
                "{empty:?}: {told}"
            );
        }
        let meant = now.followed_by(one("# since the move\n# no rules\n")).unwrap().unwrap();
        assert_eq!(meant.policy.rules.len(), 0);
        assert_eq!(
            meant.followed_by(one("")).unwrap().unwrap().policy.rules.len(),
            0,
            "nothing is lost any more"
        );
        let gone = now.followed_by(Texts::new()).unwrap().unwrap();
        assert_eq!(gone.policy.rules.len(), 0, "who takes a file away means it");
    }

    #[test]
    fn half_a_document_changes_nothing_and_the_same_files_are_no_news() {
        let now = with_rules();
        assert!(now.followed_by(one(FORBID)).unwrap().is_none());
        assert!(now.followed_by(one(FORBID.split_at(80).0)).is_err());
        let two = format!("{FORBID}---\n{}", FORBID.replace("no-shells", "no-more"));
        assert_eq!(now.followed_by(one(&two)).unwrap().unwrap().policy.rules.len(), 2);
    }
}
