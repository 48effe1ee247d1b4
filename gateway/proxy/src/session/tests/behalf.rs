//! Calls that workloads make for somebody: they end with whoever stands in their chain.

use super::*;
use crate::audit::Trail;
use crate::chain::for_tests::{FRONT, acting, front};

/// A watch of pods that `web` makes for al, through the account `shop/front`.
fn through(world: &World, web: &Arc<Identity>) -> Arc<Trail> {
    let al = person("al", "dev");
    let mut trail = world.watch(Arc::clone(&al), "shop");
    let known = Arc::get_mut(&mut trail).unwrap();
    known.on_behalf = Some(Arc::new(acting(&al, web, BEGIN).unwrap()));
    trail
}

#[tokio::test]
async fn promise_3_a_lock_on_anybody_in_a_chain_ends_the_calls_that_came_through_them() {
    let web = Arc::new(for_bench("web", &[], Credential::Svid));
    let of_front = Lock {
        subject: front(),
        kind: model::subject::SubjectKind::ServiceAccount,
        user: FRONT.to_owned(),
        ..lock(&web, Timestamp::MAX)
    };
    let al = person("al", "dev");
    for (lock, name) in [
        (lock(&web, Timestamp::MAX), "web"),
        (of_front, FRONT),
        (lock(&al, Timestamp::MAX), "al"),
    ] {
        let world = World::new(8, Authorization::Enforce);
        world.rules(&["dev"], &[]);
        let (chained, alone) = (
            world.enter(&through(&world, &web)),
            world.enter(&world.watch(person("bo", "dev"), "shop")),
        );
        assert!(!chained.is_over());
        assert_eq!(
            world.registry.lock_out(Arc::new(Locks::new([lock])), BEGIN),
            1,
            "{name}"
        );
        assert!(chained.is_over() && !alone.is_over(), "{name}");
        assert_eq!(
            chained.why(),
            format!("ended by the gateway: {name} is locked by carol: TICKET-7")
        );
        let late = world.enter(&through(&world, &web));
        assert!(late.is_over(), "let in before the lock, entered after it: {name}");
    }
}

#[tokio::test]
async fn who_looks_after_certificates_looks_at_those_of_workloads_that_act_for_somebody() {
    let world = World::new(8, Authorization::Enforce);
    world.rules(&["dev"], &[]);
    let web = |credential| Arc::new(for_bench("web", &[], credential));
    let by_svid = world.enter(&through(&world, &web(Credential::Svid)));
    let by_token = world.enter(&through(&world, &web(Credential::ServiceAccount)));
    assert!(crate::session::keeper::is_by(&by_svid.entry, Credential::Svid));
    assert!(!crate::session::keeper::is_by(&by_token.entry, Credential::Svid));
}
