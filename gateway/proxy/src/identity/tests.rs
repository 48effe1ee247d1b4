//! Tokens of ServiceAccounts beside a flood of texts that look like them, sign-ins that end meanwhile, and locks.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::lock::Lock;
use oidc::gateway::{GatewayClaims, GatewayVerifier, Mint, ProviderIdentity, SigningKey};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ask::Asked;
use crate::listener::tls::svid_tests::{Authority, leaf, rules as svid_rules};
use crate::listener::tls::{ClientAuthorities, ClientCertificateRules, TrustBundle};
use crate::listener::{TlsFacts, TlsVersion};
use crate::session::bench;

const OURS: &str = "https://gate";

fn token(audience: &str, name: &str) -> String {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let header = encode(r#"{"alg":"RS256","kid":"k"}"#.to_owned());
    let claims = encode(format!(
        r#"{{"iss":"https://kubernetes.default.svc","aud":["{audience}"],"sub":"{name}","exp":4000000000}}"#
    ));
    format!("{header}.{claims}.{}", encode("signature".to_owned()))
}

fn cluster() -> ClusterId {
    ClusterId::new(bench::CLUSTER).unwrap()
}

fn station() -> (Arc<Station>, mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>) {
    let (sign_ins, _) = Ask::new(1, Duration::from_secs(1), |why| SessionAnswer::Unknown { why });
    station_asking(sign_ins)
}

fn station_asking(
    sign_ins: Ask<SessionQuestion, SessionAnswer>,
) -> (Arc<Station>, mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>) {
    let (_, locks) = watch::channel(Arc::default());
    station_with(sign_ins, bench::trust(), locks)
}

/// No browser comes here.
fn no_cookies() -> Ask<CookieQuestion, CookieAnswer> {
    Ask::new(1, Duration::from_secs(1), |why| CookieAnswer::Unknown { why }).0
}

fn station_with(
    sign_ins: Ask<SessionQuestion, SessionAnswer>,
    trust: Trust,
    locks: watch::Receiver<Arc<Locks>>,
) -> (Arc<Station>, mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>) {
    let (_, trust) = watch::channel(Arc::new(trust));
    let (keys, _) = Ask::new(1, Duration::from_secs(1), |_| KeyAnswer::Unknown);
    let (tokens, asked) = Ask::new(1_024, Duration::from_secs(5), |why| TokenAnswer::Unknown { why });
    let questions = Questions {
        keys,
        sign_ins,
        cookies: no_cookies(),
        tokens: BTreeMap::from([(cluster(), tokens)]),
        issuers: None,
    };
    let acceptance = Acceptance {
        service_account_audience: OURS.to_owned(),
        cache_entries: 100,
        sign_in_check: Duration::from_secs(60),
        longest_sign_in: Duration::from_secs(86_400),
        certificates: HashMap::new(),
        workloads: vec![TrustDomain::parse("example.org").unwrap()],
    };
    (
        Arc::new(Station::new(trust, locks, questions, acceptance).unwrap()),
        asked,
    )
}

/// A cluster that needs a tenth of a second for each answer, 32 at the same time, and knows the tokens whose text it is told.
fn answer(mut asked: mpsc::Receiver<Asked<TokenQuestion, TokenAnswer>>, good: Vec<String>) -> Arc<Mutex<u32>> {
    let count = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let places = Arc::new(tokio::sync::Semaphore::new(32));
        while let Some((question, reply)) = asked.recv().await {
            *counted.lock().unwrap() += 1;
            let place = Arc::clone(&places).acquire_owned().await.unwrap();
            let is_good = good.iter().any(|token| **token == *question.token);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let answer = if is_good {
                    TokenAnswer::Authenticated {
                        username: "system:serviceaccount:shop:ci".to_owned(),
                        uid: None,
                        groups: Vec::new(),
                        extra: BTreeMap::new(),
                    }
                } else {
                    TokenAnswer::Refused { why: "no".to_owned() }
                };
                let _ = reply.send(answer);
                drop(place);
            });
        }
    });
    count
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_texts_like_tokens_takes_no_answer_from_a_good_one() {
    let (station, asked) = station();
    let (known, fresh) = (token(OURS, "known"), token(OURS, "fresh"));
    let count = answer(asked, vec![known.clone(), fresh.clone()]);
    let (near, far): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let begin = bench::BEGIN;
    assert!(
        station
            .token(Audience::Cluster(&cluster()), &known, near, begin)
            .await
            .is_ok()
    );
    let later = begin.plus(Duration::from_secs(60));
    let flood: Vec<_> = (0..10_000)
        .map(|number| {
            let station = Arc::clone(&station);
            tokio::spawn(async move {
                let garbage = token(OURS, &format!("garbage-{number}"));
                station
                    .token(Audience::Cluster(&cluster()), &garbage, near, later)
                    .await
                    .is_err()
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let of_known = station.token(Audience::Cluster(&cluster()), &known, near, later).await;
    assert!(
        of_known.is_ok(),
        "asked about again from the same address: {of_known:?}"
    );
    let of_fresh = station.token(Audience::Cluster(&cluster()), &fresh, far, later).await;
    assert!(of_fresh.is_ok(), "a newcomer from another address: {of_fresh:?}");
    for refused in flood {
        assert!(refused.await.unwrap());
    }
    let asked = *count.lock().unwrap();
    assert!(asked <= 3 + 51, "the cluster was asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn a_token_for_somebody_else_is_refused_without_asking_the_cluster() {
    let (station, asked) = station();
    let count = answer(asked, Vec::new());
    let from = "10.0.0.1".parse().unwrap();
    let refused = station
        .token(
            Audience::Cluster(&cluster()),
            &token("https://other", "a"),
            from,
            bench::BEGIN,
        )
        .await;
    assert!(
        matches!(&refused, Err(Turned::Refused(Refusal::BadCredential(why))) if why.contains(OURS)),
        "{refused:?}"
    );
    assert_eq!(*count.lock().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_about_a_session_after_its_end_gets_no_answer_from_before_it() {
    let (sign_ins, mut asked) = Ask::new(8, Duration::from_secs(60), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_asking(sign_ins);
    let identity = Arc::new(for_bench("al", &["dev"], Credential::GatewayToken));
    let looks = || {
        let (station, identity) = (Arc::clone(&station), Arc::clone(&identity));
        tokio::spawn(async move { station.sign_in_stands(&identity).await })
    };
    let before = looks();
    let (_, of_before) = asked.recv().await.unwrap();
    // The session ends while that answer is on its way.
    station.cache().clear();
    let after = looks();
    let anew = tokio::time::timeout(Duration::from_secs(5), asked.recv()).await;
    let (_, of_after) = anew.expect("the store is asked anew").unwrap();
    let live = SessionAnswer::Live {
        ends_at: Timestamp::MAX,
        stated_reason: None,
        subject: None,
    };
    of_before.send(live).unwrap();
    of_after
        .send(SessionAnswer::Ended {
            why: "signed out".to_owned(),
        })
        .unwrap();
    assert!(before.await.unwrap().is_ok());
    assert!(matches!(after.await.unwrap(), Err(Refusal::SignInEnded(_))));
}

fn lock(user: &str, until: Timestamp) -> Lock {
    Lock {
        subject: subject_id("https://idp", user),
        kind: SubjectKind::Person,
        user: user.to_owned(),
        email: None,
        until,
        why: "TICKET-7".to_owned(),
        by: "carol".to_owned(),
        at: bench::BEGIN,
    }
}

#[tokio::test]
async fn who_is_locked_out_is_admitted_by_no_credential_and_named_in_the_refusal() {
    let (publish, locks) = watch::channel(Arc::default());
    let (sign_ins, _) = Ask::new(1, Duration::from_secs(1), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_with(sign_ins, bench::trust(), locks);
    let until = bench::BEGIN.plus(Duration::from_secs(60));
    let admits = |name: &str, credential, now| station.admit(Arc::new(for_bench(name, &[], credential)), now);
    for credential in Credential::ALL {
        publish.send_replace(Arc::new(Locks::new([lock("al", until)])));
        let unproved = Unproved::from(admits("al", credential, bench::BEGIN).unwrap_err());
        assert_eq!(unproved.known.unwrap().subject().username(), "al");
        assert_eq!(
            (unproved.credential, unproved.refusal.status().as_u16()),
            (credential.as_str(), 403)
        );
        assert_eq!(
            unproved.refusal.in_words(),
            format!("al is locked by carol until {until}: TICKET-7")
        );
        assert!(admits("bo", credential, bench::BEGIN).is_ok());
        assert!(admits("al", credential, until).is_ok(), "it ends by itself");
        publish.send_replace(Arc::default());
        assert!(admits("al", credential, bench::BEGIN).is_ok(), "it was lifted");
    }
}

#[tokio::test]
async fn a_token_of_ours_whose_person_is_locked_out_is_told_of_the_lock_and_not_of_the_session_that_it_ended() {
    let (signing, pkcs8) = SigningKey::generate().unwrap();
    let mut trust = bench::trust();
    let published = SigningKey::key_set([&signing]).unwrap();
    trust.gateway = Arc::new(GatewayVerifier::new(OURS, published, Duration::ZERO));
    let (publish, locks) = watch::channel(Arc::default());
    let (sign_ins, mut asked) = Ask::new(8, Duration::from_secs(5), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_with(sign_ins, trust, locks);
    let claims = GatewayClaims {
        issuer: OURS.to_owned(),
        audience: bench::CLUSTER.to_owned(),
        subject: subject_id("https://idp", "al").to_string(),
        session: "s".to_owned(),
        token_id: "t".to_owned(),
        issued_at: bench::BEGIN,
        expires_at: bench::BEGIN.plus(Duration::from_secs(600)),
        auth_time: bench::BEGIN,
        acr: None,
        identity: ProviderIdentity {
            iss: "https://idp".to_owned(),
            sub: "al".to_owned(),
            username: "al".to_owned(),
            groups: Vec::new(),
            uid: None,
            email: None,
            extra: BTreeMap::new(),
        },
    };
    let token = Mint::new(SigningKey::from_pkcs8(&pkcs8).unwrap())
        .sign(&claims)
        .unwrap();
    let from = "10.0.0.1".parse().unwrap();
    publish.send_replace(Arc::new(Locks::new([lock("al", Timestamp::MAX)])));
    let refused = station
        .token(Audience::Cluster(&cluster()), &token, from, bench::BEGIN)
        .await;
    let Err(Turned::Locked(out)) = refused else {
        panic!("{refused:?}");
    };
    let unproved = Unproved::from(out);
    assert_eq!(unproved.refusal.in_words(), "al is locked by carol: TICKET-7");
    assert!(asked.try_recv().is_err(), "no question is needed");
    publish.send_replace(Arc::default());
    let cluster = cluster();
    let (again, ()) = tokio::join!(
        station.token(Audience::Cluster(&cluster), &token, from, bench::BEGIN),
        async {
            let (_, reply) = asked.recv().await.unwrap();
            let why = "signed out".to_owned();
            reply.send(SessionAnswer::Ended { why }).unwrap();
        }
    );
    assert!(
        matches!(again, Err(Turned::Refused(Refusal::SignInEnded(_)))),
        "{again:?}"
    );
}

/// A connection on which this certificate was presented.
fn conn(leaf: Vec<u8>, rules: &ClientCertificateRules) -> Conn {
    let address = std::net::SocketAddr::from(([10, 0, 0, 1], 1));
    let facts = TlsFacts {
        version: TlsVersion::Tls13,
        cipher: "",
        sni: None,
        alpn: None,
        is_resumed: false,
    };
    let conn = Conn::new(1, address, address, "kubernetes".into(), CancellationToken::new());
    conn.with_tls(facts, Some(Arc::from([leaf.into()])), Some(rules))
}

const WEB: &str = "spiffe://example.org/ns/prod/sa/web";

async fn authenticates(station: &Station, conn: &Conn, token: Option<&str>) -> Result<Authenticated, Unproved> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let (clock, _) = crate::clock::Clock::manual(bench::BEGIN.unix_nanos());
    station
        .authenticate(conn, Audience::Cluster(&cluster()), &mut headers, clock.read())
        .await
}

fn why(unproved: &Unproved) -> (&'static str, String) {
    (unproved.credential, unproved.refusal.in_words())
}

#[tokio::test]
async fn n_11_a_workload_is_known_by_its_spiffe_id_as_it_stands_and_by_nothing_else() {
    let (station, _) = station();
    let (authority, bundle) = (Authority::new("a"), Arc::new(TrustBundle::default()));
    bundle.reload_file(authority.pem().as_bytes()).unwrap();
    let rules = svid_rules(&bundle, &bundle, None);
    let der = leaf(&authority, &[WEB], |params| {
        // What makes a person and their groups makes nobody here.
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "system:admin");
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "system:masters");
        params.not_after = rcgen::date_time_ymd(2040, 1, 2);
    });
    let conn = conn(der, &rules);
    let proved = authenticates(&station, &conn, None).await.unwrap();
    let (identity, by) = (proved.identity(), proved.identity().by());
    assert_eq!((by.kind, by.user, by.sub), (SubjectKind::Workload, WEB, WEB));
    assert_eq!((by.iss, by.credential), ("spiffe://example.org", "svid"));
    assert!(by.credential_id.unwrap().starts_with("X509SHA256="));
    assert_eq!(by.session, Some(subject_id("spiffe://example.org", WEB).as_str()));
    assert!(identity.subject().groups().is_empty() && by.email.is_none());
    assert_eq!(identity.expires_at(), Timestamp::parse("2040-01-02T00:00:00Z").unwrap());
    assert_eq!(station.known_end(identity, bench::BEGIN), identity.expires_at());
    let still = |now| station.still(identity, Some(&conn), bench::BEGIN, now).unwrap();
    assert_eq!(still(bench::BEGIN).unwrap(), identity.expires_at());
    assert!(
        still(identity.expires_at()).is_err(),
        "no call outlives the certificate"
    );
    bundle.unload();
    assert_eq!(
        still(bench::BEGIN).unwrap_err().in_words(),
        "no bundle of the trust domain `example.org` is loaded"
    );
}

#[tokio::test]
async fn n_11_a_bad_svid_is_refused_whatever_is_presented_beside_it() {
    let (station, asked) = station();
    let good = token(OURS, "ci");
    answer(asked, vec![good.clone()]);
    let (authority, bundle) = (Authority::new("a"), Arc::new(TrustBundle::default()));
    let people = Arc::new(ClientAuthorities::load(authority.pem().as_bytes()).unwrap());
    let rules = svid_rules(&bundle, &bundle, Some(people));
    for (uris, words) in [
        (&[WEB][..], "no bundle of the trust domain `example.org` is loaded"),
        (
            &["spiffe://other.example/a"],
            "workloads of the trust domain that the X.509-SVID names are not accepted here",
        ),
        (
            &[WEB, "https://alice.example"],
            "the X.509-SVID has a second URI among its names; its SPIFFE ID is the only one that it may have",
        ),
        (
            &["spiffe://example.org/"],
            "the URI in the client certificate is no workload's SPIFFE ID: the path of a SPIFFE ID has no empty segment and no slash at its end",
        ),
    ] {
        let named =
            |params: &mut rcgen::CertificateParams| params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
        let conn = conn(leaf(&authority, uris, named), &rules);
        for token in [None, Some(good.as_str()), Some("garbage")] {
            let unproved = authenticates(&station, &conn, token).await.unwrap_err();
            assert_eq!(why(&unproved), ("svid", words.to_owned()), "{token:?}");
            assert!(unproved.known.is_none());
        }
    }
    let plain = conn(leaf(&authority, &[], |_| {}), &rules);
    assert!(
        authenticates(&station, &plain, Some(&good)).await.is_ok(),
        "beside a certificate that names no workload the token counts as always"
    );
}

#[tokio::test]
async fn n_11_nobody_goes_by_the_name_of_a_workload_of_an_accepted_trust_domain() {
    let (station, _) = station();
    let authority = Authority::new("a");
    let people = Arc::new(ClientAuthorities::load(authority.pem().as_bytes()).unwrap());
    let rules = svid_rules(&Arc::default(), &Arc::default(), Some(people));
    let mut station = Arc::into_inner(station).unwrap();
    station.acceptance.certificates = HashMap::from([("kubernetes".to_owned(), CertificateNames::default())]);
    for (name, is_somebody) in [
        (WEB, false),
        ("spiffe://example.org/", false),
        ("spiffe://example.org", false),
        ("spiffe://example.organ/a", true),
        ("alice", true),
    ] {
        let named =
            |params: &mut rcgen::CertificateParams| params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let conn = conn(leaf(&authority, &[], named), &rules);
        let found = authenticates(&station, &conn, None).await;
        assert_eq!(found.is_ok(), is_somebody, "{name}: {found:?}");
        let of_token = station.is_no_workload(for_bench(name, &[], Credential::ProviderToken));
        assert_eq!(of_token.is_ok(), is_somebody, "{name}");
    }
    let conn = conn(
        leaf(&authority, &[], |params| {
            params.distinguished_name.push(rcgen::DnType::CommonName, WEB)
        }),
        &rules,
    );
    let told = why(&authenticates(&station, &conn, None).await.unwrap_err());
    let words = "`spiffe://example.org/ns/prod/sa/web` is the name of a workload: those of the trust domain `example.org` prove themselves by their X.509-SVID alone";
    assert_eq!(told, ("certificate", words.to_owned()));
}

#[derive(Debug)]
struct Issues(Vec<(&'static str, &'static str)>);

impl AccountIssuers for Issues {
    fn issues(&self, cluster: &ClusterId, issuer: &str) -> bool {
        self.0
            .iter()
            .any(|(of, theirs)| *of == cluster.as_str() && *theirs == issuer)
    }
}

/// Asks a service of several clusters; returns the cluster that was asked about the token, and the answer.
async fn asked_at_a_service(
    clusters: &[&str],
    issues: Vec<(&'static str, &'static str)>,
) -> (Option<String>, Result<Arc<Identity>, Turned>) {
    let mut station = Arc::into_inner(station().0).unwrap();
    let (tokens, mut asked) = Ask::new(8, Duration::from_secs(5), |why| TokenAnswer::Unknown { why });
    let all = clusters
        .iter()
        .map(|name| (ClusterId::new(name).unwrap(), tokens.clone()));
    station.questions.tokens = all.collect();
    station.questions.issuers = Some(Arc::new(Issues(issues)));
    let host = model::service::HostName::new("web.example").unwrap();
    let at = AtService {
        host: &host,
        name: None,
        secure: true,
    };
    let (from, token) = ("10.0.0.1".parse().unwrap(), token(OURS, "ci"));
    let who = Arc::new(Mutex::new(None));
    let said = Arc::clone(&who);
    let answers = tokio::spawn(async move {
        while let Some((question, reply)) = asked.recv().await {
            *said.lock().unwrap() = Some(question.cluster.to_string());
            let _ = reply.send(TokenAnswer::Authenticated {
                username: "system:serviceaccount:shop:ci".to_owned(),
                uid: None,
                groups: Vec::new(),
                extra: BTreeMap::new(),
            });
        }
    });
    let found = station.token(Audience::Service(at), &token, from, bench::BEGIN).await;
    answers.abort();
    let who = who.lock().unwrap().clone();
    (who, found)
}

/// The issuer of [`token`].
const ISSUER: &str = "https://kubernetes.default.svc";

#[tokio::test]
async fn at_a_service_the_issuer_of_a_token_says_of_which_cluster_the_account_is_and_doubt_is_a_refusal() {
    let (who, found) = asked_at_a_service(&["dev", "prod"], vec![("prod", ISSUER), ("dev", "https://dev")]).await;
    assert_eq!(who.as_deref(), Some("prod"));
    assert_eq!(found.unwrap().subject().issuer(), "cluster:prod");
    let (who, found) = asked_at_a_service(&["prod"], Vec::new()).await;
    assert_eq!(
        (who.as_deref(), found.is_ok()),
        (Some("prod"), true),
        "the only one is asked"
    );
    for (issues, words) in [
        (vec![], "issuer"),
        (
            vec![("prod", ISSUER), ("dev", ISSUER)],
            "several clusters issue tokens under the same issuer",
        ),
    ] {
        let (who, found) = asked_at_a_service(&["dev", "prod"], issues).await;
        assert_eq!(who, None, "nobody is shown it");
        let Err(Turned::Refused(Refusal::BadCredential(why))) = found else {
            panic!("{found:?}");
        };
        assert!(why.contains(words), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_of_people_who_signed_in_is_there_a_sign_in_behind_an_assertion() {
    use model::service::ServiceName;
    use oidc::gateway::assertion::{AssertedGroups, AssertedIdentity, AssertionClaims, Chain};
    let (sign_ins, mut asked) = Ask::new(8, Duration::from_secs(5), |why| SessionAnswer::Unknown { why });
    let (station, _) = station_asking(sign_ins);
    for (kind, words) in [
        (SubjectKind::ServiceAccount, "the assertion is a workload's own"),
        (SubjectKind::Workload, "the assertion is a workload's own"),
        (SubjectKind::Person, "the person's sign-in has ended: you signed out"),
    ] {
        let claims = AssertionClaims {
            audience: ServiceName::new("web").unwrap(),
            identity: AssertedIdentity {
                id: subject_id("https://idp", "al"),
                kind,
                issuer: "https://idp".to_owned(),
                subject: "al".to_owned(),
                username: "al".to_owned(),
                email: None,
                groups: AssertedGroups::of::<&str>(&[]),
            },
            session: "s".to_owned(),
            token_id: "t".to_owned(),
            auth_time: None,
            acr: None,
            chain: Chain::default(),
            ends: Timestamp::MAX,
        };
        let (told, ()) = tokio::join!(station.of_assertion(&claims, bench::BEGIN), async {
            let question = tokio::time::timeout(Duration::from_secs(1), asked.recv()).await;
            if let Ok(Some((_, reply))) = question {
                let why = "you signed out".to_owned();
                let _ = reply.send(SessionAnswer::Ended { why });
            }
        });
        let Err(Refusal::NotOnBehalf(why)) = told else {
            panic!("{told:?}");
        };
        assert!(why.contains(words), "{kind:?}: {why}");
    }
}
