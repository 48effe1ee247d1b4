//! What asked a service for another protocol is listed with its place there, and ended as any session is.

use std::sync::Arc;

use access::decide::Authorization;
use model::live::LiveService;
use model::request::Target;
use model::service::{HostName, ServiceName};
use model::time::Timestamp;

use super::person;
use crate::audit::{CalledService, Trail};
use crate::session::bench::World;
use crate::session::live::Counted;
use crate::session::{Full, Grounds};
use crate::sign_in_first::Asker;

/// A WebSocket of somebody at a service, or of nobody in particular.
fn websocket(world: &World, user: &str, is_public: bool) -> Arc<Trail> {
    let mut trail = world.watch(person(user, "dev"), "shop");
    let called = Arc::get_mut(&mut trail).unwrap();
    (called.cluster, called.facts) = (None, None);
    called.target = Some(Target::of_service(b"/api/live/0123456789012345678901234567890123456789?x=1").unwrap());
    called.service = Some(CalledService {
        host: HostName::new("grafana.example.com").unwrap(),
        name: Some(ServiceName::new("grafana").unwrap()),
        is_public,
        asker: Asker::WebSocket,
        arrival: None,
    });
    trail
}

#[tokio::test]
async fn promise_8_the_public_fills_a_quarter_of_the_table_and_people_the_rest() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let enter = |trail: &Arc<Trail>| {
        let grounds = Grounds {
            version: 0,
            not_after: Timestamp::MAX,
            from_cluster: false,
            momentary: false,
        };
        world.registry.enter(Arc::clone(trail), None, &world.draining, grounds)
    };
    let (nobody, al) = (websocket(&world, "nobody", true), websocket(&world, "al", false));
    let of_public = (enter(&nobody).unwrap(), enter(&nobody).unwrap());
    assert_eq!(enter(&nobody).unwrap_err(), Full::ForPublic { most: 2 });
    let of_people: Vec<_> = (0..6).map(|_| enter(&al).unwrap()).collect();
    assert_eq!(enter(&al).unwrap_err(), Full::ForAll { most: 8 });
    drop(of_public.0);
    let again = enter(&al).unwrap();
    assert_eq!(
        enter(&nobody).unwrap_err(),
        Full::ForAll { most: 8 },
        "and takes none of its own by that"
    );
    drop((of_people, again, of_public.1));
    let _both = (enter(&nobody).unwrap(), enter(&nobody).unwrap());
    assert_eq!(enter(&nobody).unwrap_err(), Full::ForPublic { most: 2 });
}

#[tokio::test]
async fn a_websocket_of_a_service_is_listed_at_its_host_and_path_and_can_be_ended() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let trail = websocket(&world, "al", false);
    let call = world.enter(&trail);
    assert!(world.registry.sessions().is_empty(), "it has not become one yet");
    call.becomes_session(Counted {
        up: Arc::default(),
        down: Arc::default(),
    });
    let listed = world.registry.sessions();
    let [found] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (found.cluster.as_str(), found.namespace.as_str(), found.action.as_str()),
        ("", "", "")
    );
    let at = LiveService {
        name: Some("grafana".to_owned()),
        host: "grafana.example.com".to_owned(),
        path: "/api/live/…".to_owned(),
        is_public: false,
    };
    assert_eq!(
        found.service.as_ref(),
        Some(&at),
        "no more of the path than its record has"
    );
    assert_eq!(world.registry.end_one(&found.id, "ended by eve: over"), Ok(()));
    assert!(world.registry.sessions().is_empty());
}
