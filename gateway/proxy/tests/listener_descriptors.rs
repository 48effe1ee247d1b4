//! RES-09: without free descriptors the accept loop waits instead of spinning, and goes on when there are some again.
//! A test binary of its own, as the limit holds for the whole process.

#![cfg(test)]

mod listener_support;

use std::sync::Arc;

use listener_support::{Notes, guarded, patient, read_answer, status};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proxy::listener::{Listener, ListenerConfig, ListenerMetrics, Security};
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test]
async fn res_09_the_accept_loop_backs_off_without_descriptors_and_recovers() {
    let mut config = ListenerConfig::new("test", "127.0.0.1:0".parse().unwrap(), Security::PlainLoopback);
    config.deadlines = patient();
    let metrics = Arc::new(ListenerMetrics::default());
    let listener = Listener::bind(config, metrics.clone()).unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(TcpStream::connect(listener.address()).await.unwrap());
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    setrlimit(Resource::RLIMIT_NOFILE, used + 4, hard).unwrap();
    let running = listener.start(Arc::new(Notes::default()));
    guarded(async {
        while metrics.accept_errors() < 3 {
            // One thread runs both: the loop under test goes on while this one gives way.
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Three failures take 35 ms by their pauses; a loop that spins has thousands by then.
    assert!(
        metrics.accept_errors() < 10 && metrics.accepted() < 20,
        "{} errors",
        metrics.accept_errors()
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    for client in &mut clients {
        client.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(status(&read_answer(client).await), 200);
    }
    drop(running);
}
