//! Keys of recordings that nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use ::recording::SessionKey;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::subject::SubjectId;
use tokio::time::timeout;

use super::super::recording::{RecordingKeys, Recordings};
use super::super::unrecorded::{KeyError, UnrecordedCause};
use super::Stage;
use super::recorded::KEY;

/// Keys that are made when they are told to be.
#[derive(Debug, Default)]
struct SlowKey {
    may_go_on: tokio::sync::Notify,
    forgotten: tokio::sync::Notify,
}

impl RecordingKeys for SlowKey {
    fn new_key(&self, _: &SubjectId, _: &str) -> BoxFuture<'_, Result<SessionKey, KeyError>> {
        async {
            self.may_go_on.notified().await;
            Ok(SessionKey::new(KEY))
        }
        .boxed()
    }

    fn forget(&self, _: &SubjectId, _: &str) {
        self.forgotten.notify_one();
    }
}

/// The store has begun to make a key when its caller leaves: it is durable then, and nobody else would take it away again.
#[tokio::test]
async fn a_client_that_leaves_while_its_key_is_made_leaves_no_key_and_no_file() {
    let stage = Stage::new();
    let keys = Arc::new(SlowKey::default());
    let recordings = Recordings {
        keys: Arc::<SlowKey>::clone(&keys),
        ..stage.recordings()
    };
    assert!(
        recordings.begin(&stage.trail, 0).now_or_never().is_none(),
        "and nobody waits any more"
    );
    keys.may_go_on.notify_one();
    let forgotten = timeout(Duration::from_secs(120), keys.forgotten.notified()).await;
    assert!(forgotten.is_ok(), "the key is left");
    timeout(Duration::from_secs(120), async {
        while stage.file().exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

/// A store that hangs for longer than it is waited for goes on all the same: what it has made by then opens nothing and goes.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_made_too_late_is_forgotten_when_it_is_made_and_not_before() {
    let stage = Stage::new();
    let keys = Arc::new(SlowKey::default());
    let recordings = Recordings {
        keys: Arc::<SlowKey>::clone(&keys),
        ..stage.recordings()
    };
    let why = recordings.begin(&stage.trail, 0).await.unwrap_err();
    assert_eq!(why.cause(), UnrecordedCause::KeyStore, "{why:?}");
    assert!(
        timeout(Duration::from_secs(60), keys.forgotten.notified())
            .await
            .is_err(),
        "there is none yet, and what is forgotten before it is made stays"
    );
    keys.may_go_on.notify_one();
    let forgotten = timeout(Duration::from_secs(60), keys.forgotten.notified()).await;
    assert!(forgotten.is_ok(), "the key is left");
    assert!(!stage.file().exists());
}
