//! kubectl that reaches the gate through an HTTP proxy (`CONNECT`, RFC 9110 §9.3.6), as in companies that let nothing out directly:
//! its streams pass, over WebSocket and over SPDY.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::kubectl::Way;
use tests::records::find;

use super::world::{NAMESPACE, World};

/// A proxy that leads to whatever is asked for, and how many tunnels it has dug.
struct Proxy {
    address: SocketAddr,
    tunnels: Arc<AtomicU64>,
}

impl Proxy {
    /// It ends with the program.
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let tunnels = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&tunnels);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || tunnel(client, &counted));
            }
        });
        Ok(Self { address, tunnels })
    }
}

fn tunnel(mut client: TcpStream, tunnels: &AtomicU64) -> anyhow::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head)?;
    let mut words = head.split(' ');
    ensure!(words.next() == Some("CONNECT"), "{head}");
    let server = TcpStream::connect(words.next().context("no authority")?)?;
    tunnels.fetch_add(1, Ordering::AcqRel);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || -> std::io::Result<()> {
        std::io::copy(&mut from_client, &mut to_server)?;
        to_server.shutdown(Shutdown::Write)
    });
    std::io::copy(&mut &server, &mut client)?;
    Ok(client.shutdown(Shutdown::Write)?)
}

#[test]
fn h_24_kubectl_streams_through_a_proxy_over_both_protocols() -> anyhow::Result<()> {
    let (world, proxy) = (World::shared()?, Proxy::start()?);
    let token = world.gateway.provider.raw_token("alice")?;
    let kubectl = world.gateway.kubectl("behind-a-proxy", &token)?;
    let cluster = kubectl.ok(&["config", "view", "-o", "jsonpath={.clusters[0].name}"])?;
    let url = format!("http://{}", proxy.address);
    kubectl.ok(&["config", "set", &format!("clusters.{cluster}.proxy-url"), &url])?;
    kubectl.ok(&["get", "configmap", "fixed", "-n", NAMESPACE])?;
    let mut tunnels = proxy.tunnels.load(Ordering::Acquire);
    ensure!(tunnels > 0, "kubectl went past the proxy");
    // Exit codes that no other row has, by which the records are found.
    for (way, code, method) in [(Way::WebSocket, 113, "GET"), (Way::Spdy, 114, "POST")] {
        let script = format!("cat; exit {code}");
        let line = [
            "exec", "-i", "shell", "-c", "shell", "-n", NAMESPACE, "--", "sh", "-c", &script,
        ];
        let said = kubectl.over(way).run_with_input(&line, "through the proxy\n")?;
        ensure!(
            (said.stdout.as_str(), said.code) == ("through the proxy\n", code),
            "{way}: {said}"
        );
        let before = std::mem::replace(&mut tunnels, proxy.tunnels.load(Ordering::Acquire));
        ensure!(tunnels > before, "{way}: kubectl went past the proxy");
        let is_its_end = |record: &&Value| record["kind"] == "close" && record["outcome"]["exit_code"] == code;
        let records = world
            .gateway
            .records_with("its end", |records| records.iter().any(|record| is_its_end(&record)))?;
        let end = records.iter().find(is_its_end).context("its end")?;
        let open = find(&records, "open", end["id"].as_str().context("an id")?)?;
        ensure!(open["req"]["method"] == method, "{way}: it fell back: {open}");
    }
    Ok(())
}
