//! Clients that start with WebSockets before an API server that knows none for streams: the attempt is refused, the second
//! one over SPDY carries the stream, and all comes out as it does direct.

use anyhow::ensure;
use tests::cluster::audit::Event;

use super::libraries::streams_that_fall_back;
use super::world::World;

const NO_WEBSOCKETS: &str = "--feature-gates=TranslateStreamCloseWebsocketRequests=false,PortForwardWebsockets=false";

#[test]
fn h_24_a_stream_that_falls_back_to_spdy_is_the_same() -> anyhow::Result<()> {
    let world = World::with(vec![NO_WEBSOCKETS.to_owned()])?;
    super::kubectl::streams_that_fall_back(&world)?;
    streams_that_fall_back(&world)?;
    let events = world.cluster.audit_events()?;
    for (way, person) in [("direct", "alice@example.com"), ("gate", IMPERSONATOR)] {
        let answered = |accepted: bool| {
            let of_exec = events
                .iter()
                .filter(|event| event.user.username == person && event.request_uri.contains("/exec?"));
            let codes = of_exec.filter_map(Event::code);
            codes.filter(|code| (*code == 101) == accepted).count()
        };
        ensure!(
            answered(false) > 0 && answered(true) > 0,
            "{way}: {} attempts refused, {} streams",
            answered(false),
            answered(true)
        );
    }
    Ok(())
}

/// In whose name the gateway calls.
const IMPERSONATOR: &str = "system:serviceaccount:gatescribe:impersonator";
