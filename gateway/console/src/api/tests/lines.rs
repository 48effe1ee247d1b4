//! An answer that goes on, line by line as it comes.

use axum::body::Body;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::World;

pub(in crate::api) struct Lines {
    body: Body,
    ready: std::collections::VecDeque<Value>,
}

impl Lines {
    pub(in crate::api) async fn next(&mut self) -> Option<Value> {
        while self.ready.is_empty() {
            let frame = self.body.frame().await?.unwrap().into_data().unwrap();
            let text = String::from_utf8(frame.to_vec()).unwrap();
            self.ready
                .extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        self.ready.pop_front()
    }
}

pub(in crate::api) async fn follow(world: &World, token: &str, target: &str) -> Lines {
    let response = world.send(token, target).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    Lines {
        body: response.into_body(),
        ready: std::collections::VecDeque::new(),
    }
}
