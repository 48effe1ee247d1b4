//! Logs of pods: the same lines at every start, and with `follow` a new one now and then.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use model::time::Timestamp;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::Cluster;
use super::defaults::number;
use super::json::At as _;
use super::query::Query;
use super::status::Refusal;
use super::store::{Key, Object};

/// Lines that a container has written before anyone looked.
const LINES: u64 = 40;
const BETWEEN: Duration = Duration::from_secs(37);

/// Answers `pods/NAME/log`. `place` is taken only by a followed log.
///
/// # Errors
/// 404 or 400 when there is no such pod or container.
pub(super) fn answer(
    cluster: &Arc<Cluster>,
    key: &Key,
    query: &Query,
    place: impl FnOnce() -> Result<OwnedSemaphorePermit, Refusal>,
) -> Result<Response, Refusal> {
    let pod = cluster.store.read(|world| world.object(key).cloned());
    let pod = pod.ok_or_else(|| Refusal::not_found(key.kind.row(), &key.name))?;
    let container = container(&pod, query.text("container"))?;
    let lines = past(&pod, &container, query, cluster.now())?;
    let body = if query.is_true("follow") {
        Body::from_stream(follow(
            cluster,
            key.clone(),
            container,
            query.is_true("timestamps"),
            lines,
            place()?,
        ))
    } else {
        Body::from(cut(lines, query.number("limitBytes")?))
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn container(pod: &Value, wanted: &str) -> Result<String, Refusal> {
    let name = pod.at("metadata").at("name").as_str().unwrap_or_default();
    let names: Vec<&str> = pod
        .at("spec")
        .at("containers")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one.at("name").as_str())
        .collect();
    match (wanted, names.as_slice()) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", all) => {
            let message = format!("a container name must be specified for pod {name}, choose one of: {all:?}");
            Err(Refusal::bad_request(message))
        }
        (wanted, all) if all.contains(&wanted) => Ok(wanted.to_owned()),
        (wanted, _) => Err(Refusal::bad_request(format!(
            "container {wanted} is not valid for pod {name}"
        ))),
    }
}

/// The lines written so far, oldest first, each with its time.
fn past(pod: &Object, container: &str, query: &Query, now: Timestamp) -> Result<String, Refusal> {
    let started = pod
        .at("metadata")
        .at("creationTimestamp")
        .as_str()
        .and_then(|text| Timestamp::parse(text).ok());
    let started = started.unwrap_or(now);
    let since_time = Timestamp::parse(query.text("sinceTime")).ok();
    let since = query
        .number("sinceSeconds")?
        .map(|seconds| now.minus(Duration::from_secs(seconds)));
    let earliest = since.or(since_time).unwrap_or(Timestamp::EPOCH);
    let name = pod.at("metadata").at("name").as_str().unwrap_or_default();
    let mut lines = Vec::new();
    for index in 0..LINES {
        let back = u32::try_from(LINES - 1 - index).unwrap_or(0);
        let at = now.minus(BETWEEN * back);
        if at >= started && at >= earliest {
            lines.push(line(name, container, index, at, query.is_true("timestamps")));
        }
    }
    if lines.is_empty() && earliest <= started {
        lines.push(line(name, container, 0, started, query.is_true("timestamps")));
    }
    let tail = query
        .number("tailLines")?
        .and_then(|tail| usize::try_from(tail).ok())
        .unwrap_or(usize::MAX);
    let skipped = lines.len().saturating_sub(tail);
    Ok(lines.into_iter().skip(skipped).collect())
}

fn line(pod: &str, container: &str, index: u64, at: Timestamp, has_time: bool) -> String {
    const PATHS: [&str; 5] = ["/", "/cart", "/catalog/items", "/checkout", "/healthz"];
    let seed = number(&format!("{pod}/{container}/{index}"));
    let path = usize::try_from(seed % 5)
        .ok()
        .and_then(|place| PATHS.get(place))
        .copied()
        .unwrap_or("/");
    let status = if seed.is_multiple_of(41) { 502 } else { 200 };
    let text = format!(
        "level=info component={container} msg=\"request served\" path={path} status={status} ms={}\n",
        2 + seed % 90
    );
    if has_time { format!("{at} {text}") } else { text }
}

fn cut(lines: String, limit: Option<u64>) -> String {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return lines;
    };
    let end = (0..=limit.min(lines.len()))
        .rev()
        .find(|end| lines.is_char_boundary(*end))
        .unwrap_or(0);
    lines.get(..end).unwrap_or_default().to_owned()
}

struct Following {
    cluster: Arc<Cluster>,
    key: Key,
    container: String,
    has_time: bool,
    past: Option<String>,
    index: u64,
    news: tokio::sync::watch::Receiver<u64>,
    ticks: tokio::time::Interval,
    _place: OwnedSemaphorePermit,
}

fn follow(
    cluster: &Arc<Cluster>,
    key: Key,
    container: String,
    has_time: bool,
    past: String,
    place: OwnedSemaphorePermit,
) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> + use<> {
    let every = cluster.log_interval;
    let following = Following {
        cluster: Arc::clone(cluster),
        key,
        container,
        has_time,
        past: Some(past),
        index: LINES,
        news: cluster.store.news(),
        ticks: tokio::time::interval_at(tokio::time::Instant::now() + every, every),
        _place: place,
    };
    futures::stream::unfold(following, |mut following| async move {
        let line = following.next().await?;
        Some((Ok(Bytes::from(line)), following))
    })
}

impl Following {
    /// The next line; None when the pod is gone.
    async fn next(&mut self) -> Option<String> {
        if let Some(past) = self.past.take().filter(|past| !past.is_empty()) {
            return Some(past);
        }
        loop {
            self.news.borrow_and_update();
            if !self.cluster.store.read(|world| world.object(&self.key).is_some()) {
                return None;
            }
            tokio::select! {
                changed = self.news.changed() => if changed.is_err() { return None },
                _ = self.ticks.tick() => {
                    self.index += 1;
                    return Some(line(&self.key.name, &self.container, self.index, self.cluster.now(), self.has_time));
                }
            }
        }
    }
}
