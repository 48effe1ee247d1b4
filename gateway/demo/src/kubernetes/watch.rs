//! Following a list: from a resource version on, or with the present state first (KEP-3157), until the client, the
//! deadline or a gap in what is remembered ends it.
//!
//! A watch holds a place in the remembered changes, not a queue: a slow reader costs nothing, and one that falls too far
//! behind is told 410 and lists again. Bounded: [`WATCHERS`] at once; a further one is answered 429.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval};

use super::Cluster;
use super::json::At as _;
use super::list::{Form, shown};
use super::selector::Selector;
use super::status::Refusal;
use super::store::{Change, Object, Scope};

/// Watches and followed logs at once.
pub(super) const WATCHERS: usize = 512;
/// Kubernetes' API server sends one a minute, and the gateway's feeds count on it.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// A watch that names no limit ends after this.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What a watch request asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) scope: Scope,
    pub(super) selector: Selector,
    pub(super) form: Form,
    /// None: the present state first.
    pub(super) since: Option<u64>,
    pub(super) wants_bookmarks: bool,
    /// A bookmark marks the end of the present state (`sendInitialEvents`).
    pub(super) marks_initial: bool,
    pub(super) timeout: Option<Duration>,
}

struct Watching {
    cluster: Arc<Cluster>,
    asked: Asked,
    cursor: u64,
    news: watch::Receiver<u64>,
    bookmarks: Interval,
    deadline: Instant,
    ready: VecDeque<Bytes>,
    is_over: bool,
    has_columns: bool,
    _place: OwnedSemaphorePermit,
}

/// The body of the answer: one JSON event per line.
pub(super) fn body(cluster: &Arc<Cluster>, asked: Asked, place: OwnedSemaphorePermit) -> Body {
    Body::from_stream(events(cluster, asked, place))
}

pub(super) fn events(
    cluster: &Arc<Cluster>,
    asked: Asked,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<> {
    // Subscribed before the first look, so that no change falls between the two.
    let news = cluster.store.news();
    let deadline = Instant::now() + asked.timeout.unwrap_or(LONGEST).min(LONGEST);
    let mut watching = Watching {
        cluster: Arc::clone(cluster),
        cursor: asked.since.unwrap_or(0),
        asked,
        news,
        bookmarks: tokio::time::interval_at(Instant::now() + BOOKMARKS, BOOKMARKS),
        deadline,
        ready: VecDeque::new(),
        is_over: false,
        has_columns: false,
        _place: place,
    };
    if watching.asked.since.is_none() {
        watching.begin();
    }
    futures::stream::unfold(watching, |mut watching| async move {
        let line = watching.next().await?;
        Some((Ok(line), watching))
    })
}

impl Watching {
    /// The present state as additions.
    fn begin(&mut self) {
        let selector = &self.asked.selector;
        let (revision, objects) = self.cluster.store.read(|world| {
            let all = world
                .scope(&self.asked.scope)
                .filter(|(_, object)| selector.matches(object));
            (
                world.revision(),
                all.map(|(_, object)| Arc::clone(object)).collect::<Vec<Object>>(),
            )
        });
        self.cursor = revision;
        for object in &objects {
            self.push("ADDED", object);
        }
        if self.asked.marks_initial {
            self.bookmark(true);
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            self.news.borrow_and_update();
            self.catch_up();
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.news.changed() => if changed.is_err() { return None },
                _ = self.bookmarks.tick() => if self.asked.wants_bookmarks { self.bookmark(false) },
                () = tokio::time::sleep_until(self.deadline) => return None,
            }
        }
    }

    fn catch_up(&mut self) {
        let (revision, changes) = self
            .cluster
            .store
            .read(|world| (world.revision(), world.since(&self.asked.scope, self.cursor)));
        match changes {
            Ok(changes) => {
                for change in changes {
                    self.tell(&change);
                }
                // A client may come with a version from the future (another server's); wait until it is reached.
                self.cursor = self.cursor.max(revision);
            }
            Err(expired) => self.end(&expired),
        }
    }

    /// Which event a change is depends on whether the selector matched before and after it.
    fn tell(&mut self, change: &Change) {
        let matches = |object: &Option<Object>| {
            object
                .as_ref()
                .filter(|object| self.asked.selector.matches(object))
                .cloned()
        };
        match (matches(&change.before), matches(&change.after)) {
            (None, Some(after)) => self.push("ADDED", &after),
            (Some(_), Some(after)) => self.push("MODIFIED", &after),
            (Some(before), None) => {
                let mut last = Value::clone(change.after.as_ref().unwrap_or(&before));
                super::json::set(
                    &mut last,
                    &["metadata", "resourceVersion"],
                    json!(change.revision.to_string()),
                );
                self.push("DELETED", &last);
            }
            (None, None) => {}
        }
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let metadata = json!({"resourceVersion": object.at("metadata").at("resourceVersion")});
        let mut shown = shown(
            self.asked.form,
            self.asked.scope.kind,
            object,
            &metadata,
            self.cluster.now(),
        );
        if matches!(self.asked.form, Form::Table(_)) {
            // The columns do not change: the API server sends them once, too.
            if self.has_columns
                && let Some(shown) = shown.as_object_mut()
            {
                shown.insert("columnDefinitions".to_owned(), json!([]));
            }
            self.has_columns = true;
        }
        self.line(kind, &shown);
    }

    fn bookmark(&mut self, ends_initial: bool) {
        let row = self.asked.scope.kind.row();
        let mut metadata = json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        if ends_initial {
            super::json::set(
                &mut metadata,
                &["annotations", "k8s.io/initial-events-end"],
                json!("true"),
            );
        }
        let object = match self.asked.form {
            Form::Plain => json!({"apiVersion": row.api_version(), "kind": row.kind, "metadata": metadata}),
            Form::Metadata => {
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata})
            }
            Form::Table(_) => {
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": metadata, "columnDefinitions": [], "rows": []})
            }
        };
        self.line("BOOKMARK", &object);
    }

    fn end(&mut self, refusal: &Refusal) {
        self.line("ERROR", &refusal.status());
        self.is_over = true;
    }

    fn line(&mut self, kind: &str, object: &Value) {
        let mut line = json!({"type": kind, "object": object}).to_string();
        line.push('\n');
        self.ready.push_back(Bytes::from(line));
    }
}
