//! `gatescribe login https://…` where nobody on the machine vouches for the gateway's certificate, as behind a company's
//! own authority: the certificate is shown, a fingerprint or a file is taken, and nothing skips the check.

use anyhow::{Context as _, ensure};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::Output;
use tests::person::Person;

const WORLD: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: pinned-dev }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;
const FOREIGN: &str = "5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C:5E:0C";

/// The exit code of an untrusted certificate, as `gatescribe login --help` documents it, and what is said with it.
fn assert_untrusted(refused: &Output, because: &str) {
    assert_eq!(refused.code, 7, "{refused}");
    for words in [
        "is not trusted",
        because,
        "issued by CN=gateway",
        "SHA-256 ",
        "--ca FILE",
        "--ca-sha256 HEX",
    ] {
        assert!(refused.stderr.contains(words), "no `{words}`: {refused}");
    }
    for words in ["skip", "insecure"] {
        assert!(!refused.stderr.contains(words), "`{words}`: {refused}");
    }
}

fn printed_fingerprint(refused: &Output) -> anyhow::Result<String> {
    let found = refused.stderr.split("SHA-256 ").nth(1);
    let found = found.and_then(|rest| rest.split_whitespace().next());
    Ok(found.with_context(|| format!("no fingerprint: {refused}"))?.to_owned())
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_shown_and_taken_by_its_printed_fingerprint_or_by_file() -> anyhow::Result<()>
{
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(WORLD)?;
    let options = Options {
        secure_host: true,
        ..Options::default()
    };
    let gateway = Gateway::start(cluster, &options)?;
    ensure!(gateway.url.starts_with("https://"), "{}", gateway.url);
    let login = format!("gatescribe login {}", gateway.url);

    let alice = Person::new(&gateway, "alice")?;
    let refused = alice.types(&login)?;
    assert_untrusted(&refused, "nobody who is trusted here signed it");
    assert!(!alice.kubeconfig().exists(), "nothing is written for a stranger");
    let pin = printed_fingerprint(&refused)?;
    assert_untrusted(&alice.types(&format!("{login} --ca-sha256 {FOREIGN}"))?, &pin);
    assert!(!alice.kubeconfig().exists());
    for (line, code) in [
        (format!("{login} --ca-sha256 {}", &pin[..29]), 2),
        (format!("{login} --ca-sha256 {pin} --ca elsewhere.pem"), 2),
        (format!("{login} --ca elsewhere.pem"), 2),
        (format!("{login} --insecure-skip-tls-verify"), 2),
    ] {
        let refused = alice.types(&line)?;
        assert_eq!(refused.code, code, "{line}: {refused}");
    }

    alice.signs_in(&format!("{login} --ca-sha256 {pin}"))?;
    works_until_signed_out(&alice)?;
    // The pin was kept, so the sign-in after it needs none.
    alice.signs_in(&login)?;
    // A pin that is not the server's does not let the one of before count.
    assert_untrusted(&alice.types(&format!("{login} --ca-sha256 {FOREIGN}"))?, &pin);
    alice.ok("gatescribe whoami").map(drop)?;

    let bob = Person::new(&gateway, "alice")?;
    std::fs::write(bob.folder().join("company.pem"), gateway.ca())?;
    bob.signs_in(&format!("{login} --ca company.pem"))?;
    works_until_signed_out(&bob)?;

    let carol = Person::new(&gateway, "carol")?;
    let wrong = format!("{login} --ca system-ca.pem");
    assert_untrusted(&carol.types(&wrong)?, "nobody who is trusted here signed it");
    Ok(())
}

/// The plugin, the commands and kubectl itself, all under the trust that the login was told.
fn works_until_signed_out(person: &Person<'_>) -> anyhow::Result<()> {
    let kubeconfig = std::fs::read_to_string(person.kubeconfig())?;
    for words in ["insecure", "token:", "skip"] {
        assert!(!kubeconfig.contains(words), "{kubeconfig}");
    }
    let read = person.ok("kubectl get namespace default -o name")?;
    assert_eq!(read.stdout.trim(), "namespace/default");
    let told = person.ok("gatescribe whoami")?;
    assert!(told.stdout.contains("alice@example.com"), "{told}");
    person.ok("gatescribe logout")?;
    let refused = person.types("kubectl get namespace default")?;
    assert!(
        refused.code != 0 && refused.stderr.contains("gatescribe login https://"),
        "{refused}"
    );
    Ok(())
}
