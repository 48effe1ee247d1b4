//! What the store keeps, who may read it, and what happens when several processes write.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use model::time::Timestamp;

use super::*;
use crate::client::gateway::{Cluster, Endpoints};
use crate::client::http::Trust;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

fn kept() -> Kept {
    let at = |path: &str| format!("https://gate.example{path}");
    let endpoints = Endpoints {
        authorization: at("/authorize"),
        token: at("/token"),
        device: at("/device_authorization"),
        revocation: at("/revoke"),
        userinfo: at("/userinfo"),
        api: at("/api/v1"),
    };
    let cluster = Cluster {
        name: "prod".to_owned(),
        server: at("/clusters/prod"),
        ca_data: None,
    };
    let mut kept = Kept::new(
        "https://gate.example".to_owned(),
        Trust::System,
        endpoints,
        vec![cluster],
    );
    let username = Some("alice@example.test".to_owned());
    kept.begin(Session {
        handle: Secret::new("gsh1.geheim"),
        username,
        ends: None,
    });
    kept.tokens.insert(
        "prod".to_owned(),
        Token::new(Secret::new("a.b.geheim"), NOW, Duration::from_secs(600)),
    );
    kept
}

fn place(folder: &Path) -> Place {
    Place::new(folder.join("sessions"), "gate.example-00")
}

const IN_SILENCE: Patience = Patience {
    quiet: Duration::from_secs(5),
    most: Duration::from_secs(60),
    tell: |_| {},
    for_a_person: true,
};

#[test]
fn what_is_written_is_read_again_and_nobody_else_may() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    assert_eq!(place.read().unwrap(), None);
    let lock = place.lock(&IN_SILENCE).unwrap();
    place.write(&kept(), &lock).unwrap();
    assert_eq!(place.read().unwrap(), Some(kept()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(place.folder()), mode(&place.file), mode(&place.lock)),
            (0o700, 0o600, 0o600)
        );
        std::fs::set_permissions(place.folder(), std::fs::Permissions::from_mode(0o755)).unwrap();
        place.write(&kept(), &lock).unwrap();
        assert_eq!(mode(place.folder()), 0o700);
    }
    let left: Vec<_> = std::fs::read_dir(place.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_secret_is_in_no_debug_text() {
    assert!(!format!("{:?}", kept()).contains("geheim"));
}

#[test]
fn the_format_of_version_one_is_frozen() {
    let mut kept = kept();
    kept.prompted(NOW);
    kept.exchange_under_way = Some(Secret::new("key"));
    assert_eq!(
        serde_json::to_value(&kept).unwrap(),
        serde_json::json!({
            "version": 1, "gateway": "https://gate.example", "trust": {"by": "system"},
            "endpoints": {
                "authorization": "https://gate.example/authorize", "token": "https://gate.example/token",
                "device": "https://gate.example/device_authorization", "revocation": "https://gate.example/revoke",
                "userinfo": "https://gate.example/userinfo", "api": "https://gate.example/api/v1",
            },
            "clusters": [{"name": "prod", "server": "https://gate.example/clusters/prod"}],
            "session": {"handle": "gsh1.geheim", "username": "alice@example.test", "ends": null},
            "exchangeUnderWay": "key",
            "tokens": {"prod": {"token": "a.b.geheim", "usableUntil": "1970-01-12T13:56:10.000000Z"}},
            "promptedAt": "1970-01-12T13:46:40.000000Z",
        })
    );
    let mut before = serde_json::to_value(&kept).unwrap();
    before["refusals"] = serde_json::json!([{"parent": 42, "at": "1970-01-12T13:46:40.000000Z", "exit": 3}]);
    assert_eq!(Kept::parse(before.to_string().as_bytes()).unwrap(), kept);
}

#[test]
fn a_file_of_another_version_is_not_guessed_at() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let lock = place.lock(&IN_SILENCE).unwrap();
    place.write(&kept(), &lock).unwrap();
    let text = std::fs::read_to_string(&place.file)
        .unwrap()
        .replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&place.file, text).unwrap();
    let error = place.read().unwrap_err();
    assert!(
        matches!(&error, StoreError::Foreign { cause, .. } if cause.to_string().contains("its format is 2")),
        "{error}"
    );
}

#[test]
fn a_new_session_keeps_nothing_of_the_one_before() {
    let mut kept = kept();
    kept.exchange_under_way = Some(Secret::new("key"));
    kept.prompted(NOW);
    kept.begin(Session {
        handle: Secret::new("gsh1.new"),
        username: None,
        ends: None,
    });
    assert!(kept.tokens.is_empty() && kept.exchange_under_way.is_none());
    assert!(kept.may_prompt(NOW));
}

#[test]
fn a_person_is_asked_once_in_a_quarter_of_an_hour() {
    let mut kept = kept();
    assert!(kept.may_prompt(NOW));
    kept.prompted(NOW);
    assert!(!kept.may_prompt(NOW) && !kept.may_prompt(NOW.plus(Duration::from_secs(899))));
    assert!(kept.may_prompt(NOW.plus(Duration::from_secs(900))));
    // A clock that was set back does not shut the door for years.
    assert!(kept.may_prompt(NOW.minus(Duration::from_secs(3600))));
}

#[test]
fn a_no_counts_ten_seconds_and_for_its_parent_only_also_where_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let refuse = |parent| {
        let refusal = Refusal {
            parent,
            at: NOW,
            exit: 3,
        };
        place.refuse(refusal).unwrap();
    };
    refuse(42);
    let found = place.refused_before(42, NOW.plus(Duration::from_secs(9)));
    assert_eq!(found.map(|refusal| refusal.exit), Some(3));
    assert_eq!(place.refused_before(42, NOW.plus(Duration::from_secs(10))), None);
    assert_eq!(place.refused_before(43, NOW), None);
    // A clock that was set back does not keep anybody silent.
    assert_eq!(place.refused_before(42, NOW.minus(Duration::from_secs(1))), None);
    (0..300).for_each(refuse);
    assert!(place.refused_before(299, NOW).is_some() && place.refused_before(0, NOW).is_none());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(place.folder()), mode(&place.told)), (0o700, 0o600));
    }
    // A half that somebody is writing is no answer, and is written over.
    std::fs::write(&place.told, "[{\"parent\":7,").unwrap();
    assert_eq!(place.refused_before(7, NOW), None);
    refuse(7);
    assert!(place.refused_before(7, NOW).is_some());
    place.forget_refusals();
    assert_eq!(place.refused_before(7, NOW), None);
}

#[test]
fn a_write_that_fails_leaves_the_old_content_and_no_rest() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let lock = place.lock(&IN_SILENCE).unwrap();
    std::fs::create_dir(&place.file).unwrap();
    let error = place.write(&kept(), &lock).unwrap_err();
    assert!(matches!(error, StoreError::Unwritable { .. }));
    assert_eq!(std::fs::read_dir(place.folder()).unwrap().count(), 2);
}

#[test]
fn the_second_waits_for_the_first_is_told_who_it_is_and_then_has_it() {
    static TOLD: std::sync::OnceLock<Holder> = std::sync::OnceLock::new();
    let folder = tempfile::tempdir().unwrap();
    let first = place(folder.path());
    let second = first.clone();
    let lock = first.lock(&IN_SILENCE).unwrap();
    let (sender, receiver) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let patience = Patience {
            quiet: Duration::ZERO,
            most: Duration::from_secs(60),
            tell: |holder| TOLD.set(holder).unwrap(),
            for_a_person: true,
        };
        sender.send(()).unwrap();
        second.lock(&patience).map(drop)
    });
    receiver.recv().unwrap();
    assert_eq!(TOLD.wait().to_string(), format!(" (pid {})", std::process::id()));
    drop(lock);
    waiting.join().unwrap().unwrap();
}

#[test]
fn waiting_has_an_end_and_says_who_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let _held = place.lock(&IN_SILENCE).unwrap();
    let patience = Patience {
        quiet: Duration::ZERO,
        most: Duration::ZERO,
        tell: |_| {},
        for_a_person: false,
    };
    let error = place.lock(&patience).unwrap_err();
    let expected = format!(
        "another gatescribe (pid {}) is still busy with this gateway after 0 s",
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn where_nobody_is_a_renewal_is_waited_for_and_a_sign_in_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path());
    let held = place.lock(&IN_SILENCE).unwrap();
    let at_once = Patience {
        quiet: Duration::ZERO,
        most: Duration::ZERO,
        ..Patience::for_a_renewal(|_| {})
    };
    assert!(matches!(place.lock(&at_once).unwrap_err(), StoreError::Busy { .. }));
    held.signs_in();
    // However long a renewal could have been waited for: this does not.
    let error = place.lock(&Patience::for_a_renewal(|_| {})).unwrap_err();
    let who = format!(
        "somebody is signing in with another gatescribe (pid {})",
        std::process::id()
    );
    assert_eq!(error.to_string(), who);
    // What a holder wrote that is gone holds nobody up.
    drop(held);
    std::fs::write(&place.lock, "1 signs in").unwrap();
    place.lock(&Patience::for_a_renewal(|_| {})).unwrap();
}
