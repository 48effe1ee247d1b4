//! Kubeconfigs of real life keep every byte that is not ours.

use std::path::{Path, PathBuf};

use console::GatewayUrl;

use super::entry::Entry;
use super::*;
use crate::client::gateway::Cluster;

const TIME: &str = "20261121050000";

fn entry_at(host: &str, name: &str, prefix: &str) -> Entry {
    let cluster = Cluster {
        name: name.to_owned(),
        server: format!("https://{name}.{host}"),
        ca_data: Some("Q0E=".to_owned()),
    };
    let gateway = GatewayUrl::parse(&format!("https://{host}")).unwrap();
    Entry::new(&gateway, &cluster, prefix, Path::new("/usr/local/bin/gatescribe"))
}

fn entry(name: &str) -> Entry {
    entry_at("gate.example", name, "")
}

fn put(text: &str, entries: &[Entry]) -> Result<String, EditError> {
    edit::put(text, entries, None)
}

/// What is left when the lines that were added are taken out is what was there.
fn assert_only_added(before: &str, after: &str) {
    let mut rest = before.split_inclusive('\n').peekable();
    for line in after.split_inclusive('\n') {
        if rest.peek() == Some(&line) {
            rest.next();
        }
    }
    assert_eq!(rest.next(), None, "lost or changed in:\n{after}");
}

const LIVED_IN: &str = "\
# my clusters, do not touch
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- cluster:
    server: https://10.0.0.1:6443   # the old one
    certificate-authority-data: >-
      QUJD
      REVG
  name: old
# between
- name: quoted
  cluster: {server: \"https://10.0.0.2\", extensions: [{name: x, extension: {a: 1}}]}
# end of clusters
contexts:
- context:
    cluster: old
    user: admin
    namespace: 'it''s mine'
  name: old
current-context: \"old\"   # stays
users:
- name: admin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      command: aws
      args:
        - eks
        - get-token
      env: null
";

const OURS: &str = "\
apiVersion: v1
kind: Config
clusters:
- name: prod@gate.example
  cluster:
    server: https://prod.gate.example
    certificate-authority-data: Q0E=
contexts:
- name: prod
  context:
    cluster: prod@gate.example
    user: prod@gate.example
users:
- name: prod@gate.example
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: /usr/local/bin/gatescribe
      args:
      - kube
      - credential
      - \"--gateway\"
      - https://gate.example
      - \"--cluster\"
      - prod
      installHint: \"gatescribe is needed to sign in to this cluster. Install it, then run: gatescribe login\"
      interactiveMode: IfAvailable
      provideClusterInfo: true
";

#[test]
fn a_new_file_holds_the_whole_entry_and_no_secret() {
    assert_eq!(put("", &[entry("prod")]).unwrap(), OURS);
}

#[test]
fn comments_order_and_other_contexts_keep_every_byte() {
    let after = put(LIVED_IN, &[entry("prod"), entry("test")]).unwrap();
    assert_only_added(LIVED_IN, &after);
    let items = |list: &str| {
        let root = tree::Node::parse(&after).unwrap().unwrap().value();
        let tree::Value::List(items) = root.member(list).unwrap().clone() else {
            panic!("{list}")
        };
        items
            .iter()
            .map(|item| item.member("name").unwrap().as_text().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        items("clusters"),
        ["old", "quoted", "prod@gate.example", "test@gate.example"]
    );
    assert_eq!(items("contexts"), ["old", "prod", "test"]);
    assert_eq!(items("users"), ["admin", "prod@gate.example", "test@gate.example"]);
    assert_eq!(edit::current_context(&after).as_deref(), Some("old"));
}

#[test]
fn a_second_login_changes_nothing() {
    let once = put(LIVED_IN, &[entry("prod")]).unwrap();
    assert_eq!(put(&once, &[entry("prod")]).unwrap(), once);
    assert_eq!(put(OURS, &[entry("prod")]).unwrap(), OURS);
}

#[test]
fn a_moved_cluster_is_replaced_in_its_place_and_what_the_person_added_stays() {
    let lived_in = OURS
        .replace(
            "server: https://prod.gate.example",
            "proxy-url: http://proxy:3128\n    server: https://old.gate.example",
        )
        .replace(
            "    user: prod@gate.example\nusers",
            "    user: prod@gate.example\n    namespace: payments\nusers",
        )
        .replace("clusters:\n", "clusters: # mine\n");
    let after = put(&lived_in, &[entry("prod")]).unwrap();
    assert!(
        after.contains("server: https://prod.gate.example\n") && !after.contains("old.gate.example"),
        "{after}"
    );
    assert!(
        after.contains("proxy-url: http://proxy:3128\n") && after.contains("namespace: payments\n"),
        "{after}"
    );
    assert!(after.contains("clusters: # mine\n"), "{after}");
}

#[test]
fn a_file_of_windows_stays_one() {
    let before = LIVED_IN.replace('\n', "\r\n");
    let after = put(&before, &[entry("prod")]).unwrap();
    assert_only_added(&before, &after);
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    assert_eq!(put(&after, &[entry("prod")]).unwrap(), after);
}

#[test]
fn anchors_and_aliases_stay_what_they_are() {
    let before = "\
clusters:
- &base
  name: a
  cluster: &server {server: https://a}
- name: b
  cluster: *server
contexts: []
users:
  - name: &me alice
    user: {token: x}
  - {name: bob, user: {username: *me}}
";
    let after = put(before, &[entry("prod")]).unwrap();
    let rest = after.replacen(
        "contexts: \n- name: prod\n  context:\n    cluster: prod@gate.example\n    user: prod@gate.example\n",
        "contexts: []\n",
        1,
    );
    assert_only_added(before, &rest);
    assert!(
        after.contains("\n  - name: prod@gate.example\n    user:\n      exec:\n"),
        "{after}"
    );
}

#[test]
fn lists_in_every_notation_take_an_entry() {
    for before in [
        "{}",
        "{\"clusters\": [], \"contexts\": null, \"users\": [{\"name\": \"x\", \"user\": {}}]}\n",
        "{\n  \"apiVersion\": \"v1\",\n  \"clusters\": [\n    {\n      \"name\": \"x\",\n      \"cluster\": {\"server\": \"https://x\"}\n    }\n  ]\n}\n",
        "apiVersion: v1\nclusters: null\ncontexts:\nusers: ~\ncurrent-context: \"\"\n",
        "clusters:\n  - name: x\n    cluster:\n      server: https://x",
        "---\nclusters:\n-\n  name: x\n  cluster: {}\n...\n",
        "# nothing yet\n",
        "---\n",
        "contexts: [{name: x, context: {cluster: y, user: z}}] # one\n",
    ] {
        let after = put(before, &[entry("prod"), entry("test")]).unwrap_or_else(|error| panic!("{before}: {error}"));
        let root = tree::Node::parse(&after).unwrap().unwrap().value();
        for (list, name) in [
            ("clusters", "test@gate.example"),
            ("contexts", "test"),
            ("users", "prod@gate.example"),
        ] {
            let tree::Value::List(items) = root.member(list).unwrap() else {
                panic!("{list} in {after}")
            };
            let found = items
                .iter()
                .filter(|item| item.member("name").unwrap().as_text() == Some(name))
                .count();
            assert_eq!(found, 1, "{list} {name} in {after}");
        }
        assert_eq!(put(&after, &[entry("prod"), entry("test")]).unwrap(), after, "{before}");
    }
}

#[test]
fn somebody_elses_names_are_not_taken() {
    let context = "contexts:\n- name: prod\n  context: {cluster: direct, user: admin}\n";
    let error = put(context, &[entry("prod")]).unwrap_err();
    assert_eq!(
        error,
        EditError::NotOurs {
            kind: "context",
            name: "prod".to_owned()
        }
    );
    assert!(put(context, &[entry_at("gate.example", "prod", "gate-")]).is_ok());

    let other_gateway = put("", &[entry("prod")]).unwrap();
    let error = put(&other_gateway, &[entry_at("other.example", "prod", "")]).unwrap_err();
    assert_eq!(
        error,
        EditError::NotOurs {
            kind: "context",
            name: "prod".to_owned()
        }
    );
    assert!(put(&other_gateway, &[entry_at("other.example", "prod", "other-")]).is_ok());

    let user = "users:\n- name: prod@gate.example\n  user: {token: x}\n";
    let error = put(user, &[entry("prod")]).unwrap_err();
    assert_eq!(
        error,
        EditError::NotOurs {
            kind: "user",
            name: "prod@gate.example".to_owned()
        }
    );
    let cluster = "clusters:\n- name: prod@gate.example\n  cluster: {server: https://x}\n";
    let error = put(cluster, &[entry("prod")]).unwrap_err();
    assert_eq!(
        error,
        EditError::NotOurs {
            kind: "cluster",
            name: "prod@gate.example".to_owned()
        }
    );
}

#[test]
fn what_cannot_be_edited_in_place_is_refused_and_not_rewritten() {
    let anchored = OURS.replace(
        "  cluster:\n    server: https://prod.gate.example",
        "  cluster: &c\n    server: &s https://old.gate.example",
    ) + "extensions: *s\n";
    assert_eq!(
        put(&anchored, &[entry("prod")]).unwrap_err(),
        EditError::Harm("anchors")
    );
    assert_eq!(
        put("a: 1\n---\nb: 2\n", &[entry("prod")]).unwrap_err(),
        EditError::SecondDocument
    );
    assert_eq!(
        put("clusters: {a: 1}\n", &[entry("prod")]).unwrap_err(),
        EditError::NoList("clusters")
    );
    assert_eq!(put("- a\n", &[entry("prod")]).unwrap_err(), EditError::NoKubeconfig);
    assert!(matches!(
        put("clusters: [\n", &[entry("prod")]).unwrap_err(),
        EditError::Syntax(_)
    ));
    assert!(matches!(
        put("a: 1\na: 2\n", &[entry("prod")]).unwrap_err(),
        EditError::Syntax(_)
    ));
}

#[test]
fn the_current_context_changes_only_when_there_is_none_or_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = Kubeconfig {
        path: folder.path().join("new").join("config"),
    };
    let written = file.write(&[entry("prod"), entry("test")], false, TIME).unwrap();
    assert_eq!(
        (written.made_current.as_deref(), written.backup.as_deref()),
        (Some("prod"), None)
    );
    let again = file.write(&[entry("prod"), entry("test")], false, TIME).unwrap();
    assert!(!again.changed && again.backup.is_none());

    std::fs::write(&file.path, LIVED_IN).unwrap();
    let written = file.write(&[entry("prod")], false, TIME).unwrap();
    assert_eq!(written.made_current, None);
    let backup = written.backup.unwrap();
    assert_eq!(backup.file_name().unwrap(), "config.20261121050000.bak");
    assert_eq!(std::fs::read_to_string(&backup).unwrap(), LIVED_IN);
    file.write(&[entry("prod")], true, TIME).unwrap();
    let text = std::fs::read_to_string(&file.path).unwrap();
    assert!(text.contains("\ncurrent-context: \"prod\"   # stays\n"), "{text}");
}

#[test]
fn a_refused_edit_leaves_file_and_folder_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let file = Kubeconfig {
        path: folder.path().join("config"),
    };
    let before = "contexts:\n- name: prod\n  context: {cluster: direct, user: admin}\n";
    std::fs::write(&file.path, before).unwrap();
    assert!(file.check(&[entry("prod")]).is_err());
    assert!(file.write(&[entry("prod")], true, TIME).is_err());
    assert_eq!(std::fs::read_to_string(&file.path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_the_mode_stays() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("config"));
    std::fs::write(&real, LIVED_IN).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let file = Kubeconfig { path: link.clone() };
    file.write(&[entry("prod")], false, TIME).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::read_to_string(&real).unwrap().contains("prod@gate.example"));
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn kubeconfig_lists_are_read_as_kubectl_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let list = std::env::join_paths([&PathBuf::new(), &first, &second]).unwrap();
    let found = |list: &std::ffi::OsStr| Kubeconfig::of(list, Some(PathBuf::from("/home/a"))).unwrap().path;
    assert_eq!(found(&list), first);
    std::fs::write(&second, "").unwrap();
    assert_eq!(found(&list), second);
    std::fs::write(&first, "").unwrap();
    assert_eq!(found(&list), first);
    assert_eq!(found(std::ffi::OsStr::new("")), PathBuf::from("/home/a/.kube/config"));
}
