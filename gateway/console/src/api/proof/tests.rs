//! Receipts and tiles over a real ledger, signed by a real key.

use axum::body::to_bytes;
use ledger::evidence::Evidence;
use ledger::note::{Algorithm, KeyName, Note, Signer as _, SigningKey};
use ledger::{Checkpoint, Ledger, Receipt, bundle_entries, leaf_hash};

use std::sync::OnceLock;
use std::time::Duration;

use super::super::places::Places;
use super::super::tests::{World, world, world_with};
use super::*;

const ORIGIN: &str = "gate.example/audit";

/// Signs whatever is durable.
pub(in crate::api) struct Signed {
    ledger: Arc<Ledger>,
    pub(in crate::api) key: SigningKey,
    /// What happens while evidence is proved.
    pub(in crate::api) meanwhile: OnceLock<Box<dyn Fn() -> Result<(), NoProof> + Send + Sync>>,
}

impl Signed {
    pub(in crate::api) fn new(ledger: &Arc<Ledger>) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            key: SigningKey::generate(KeyName::new(ORIGIN).unwrap(), Algorithm::Ed25519).unwrap(),
            meanwhile: OnceLock::new(),
        }
    }

    fn note(&self) -> Note {
        let head = self.ledger.durable();
        let origin = ORIGIN.to_owned();
        let checkpoint = Checkpoint {
            origin,
            size: head.size,
            root: head.root,
        };
        let mut note = Note::new(checkpoint.to_string()).unwrap();
        note.sign(&self.key, 0).unwrap();
        note
    }
}

impl Proves for Signed {
    fn checkpoint(&self) -> Option<String> {
        (self.ledger.durable().size > 0).then(|| self.note().to_string())
    }

    fn receipt(&self, spot: Spot, go_on: &dyn Fn() -> bool) -> Result<String, NoProof> {
        let receipt = Receipt::make_at(&self.ledger.tiles(), spot, self.note(), go_on);
        receipt.map(|receipt| receipt.to_string()).map_err(NoProof::from)
    }

    fn evidence(
        &self,
        statement: Vec<u8>,
        spots: &[Spot],
        told: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<String, NoProof> {
        self.meanwhile.get().map_or(Ok(()), |meanwhile| meanwhile())?;
        let made = Evidence::make(&self.ledger.tiles(), statement, spots, Some(told), self.note(), go_on);
        made.map(|evidence| evidence.to_string()).map_err(NoProof::from)
    }

    fn tile(&self, tile: &TilePath, go_on: &dyn Fn() -> bool) -> Result<Vec<u8>, NoProof> {
        if tile.tree_size().is_none_or(|size| size > self.ledger.durable().size) {
            return Err(NoProof::Unsigned);
        }
        Ok(self.ledger.tiles().read_while(tile, go_on)?)
    }
}

async fn get(world: &World, token: &str, target: &str) -> (StatusCode, http::HeaderMap, Vec<u8>) {
    let answer = world.ask(http::Method::GET, token, target, String::new()).await;
    let (head, body) = answer.into_parts();
    (
        head.status,
        head.headers,
        to_bytes(body, 1 << 20).await.unwrap().to_vec(),
    )
}

#[tokio::test]
async fn who_may_see_a_record_takes_a_receipt_that_anybody_can_check() {
    let world = world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    world.read("a-1", 1, "alice", "pods");
    world.read("b-1", 2, "bob", "secrets");
    for (who, id, of, seq, kind) in [
        (&alice, "a-1", "", 0, "access"),
        (&alice, "a-1", "?of=begin", 0, "access"),
        (&alice, "a-1", "?of=end", 1, "close"),
        (&eve, "b-1", "?of=end", 3, "close"),
    ] {
        let target = format!("/api/v1/audit/records/{id}/receipt{of}");
        let (status, headers, body) = get(&world, &world.bearer(who), &target).await;
        assert_eq!(status, StatusCode::OK, "{target}");
        assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let receipt = Receipt::parse(&body).unwrap();
        let chain = ledger::note::KeyChain::follow(&[world.signed.key.key().clone()], []);
        receipt.verify_along(&chain).unwrap();
        let leaf: serde_json::Value = serde_json::from_slice(receipt.leaf()).unwrap();
        assert_eq!(
            (receipt.index(), &leaf["kind"], &leaf["id"]),
            (seq, &kind.into(), &id.into())
        );
    }
    let (status, ..) = get(&world, &world.bearer(&alice), "/api/v1/audit/records/b-1/receipt").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "a receipt holds the record");
    assert_eq!(
        world.read_sentences(),
        [
            "took the receipt of record `a-1` among own records: 1 found",
            "took the receipt of record `a-1` among own records: 1 found",
            "took the receipt of record `a-1` among own records: 1 found",
            "took the receipt of record `b-1` among all records: 1 found",
            "took the receipt of record `b-1` among own records: 0 found",
        ]
    );
}

#[tokio::test]
async fn an_act_without_an_end_and_a_wrong_question_are_told_so() {
    let world = world();
    let alice = world.signed_in(1, "alice", &[]);
    world.refused("a-2", 1, "alice");
    let target = "/api/v1/audit/records/a-2/receipt";
    let (status, ..) = get(&world, &world.bearer(&alice), target).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _, body) = get(&world, &world.bearer(&alice), &format!("{target}?of=end")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let said = String::from_utf8(body).unwrap();
    assert!(said.contains("whole in its first record"), "{said}");
    let (status, ..) = get(&world, &world.bearer(&alice), &format!("{target}?of=middle")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_tree_is_read_as_tiles_and_its_entries_by_auditors_alone() {
    let world = world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    let (status, ..) = get(&world, &world.bearer(&alice), "/api/v1/ledger/checkpoint").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nothing is signed");
    world.read("a-1", 1, "alice", "pods");
    let (status, _, body) = get(&world, &world.bearer(&alice), "/api/v1/ledger/checkpoint").await;
    assert_eq!(
        (status, body),
        (StatusCode::OK, world.signed.note().to_string().into_bytes())
    );

    let (status, headers, hashes) = get(&world, &world.bearer(&eve), TILE).await;
    assert_eq!((status, hashes.len()), (StatusCode::OK, 64));
    assert_eq!(headers[header::CACHE_CONTROL], "private, max-age=31536000, immutable");
    let entries = "/api/v1/ledger/tile/entries/000.p/2";
    for of_single_records in [TILE, entries] {
        let (status, _, said) = get(&world, &world.bearer(&alice), of_single_records).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("for members of an audit group"), "{said}");
    }
    let (status, headers, bundle) = get(&world, &world.bearer(&eve), entries).await;
    assert_eq!(
        (status, &headers[header::CACHE_CONTROL]),
        (StatusCode::OK, &"no-store".parse().unwrap())
    );
    let leaves: Vec<u8> = bundle_entries(&bundle, 2)
        .unwrap()
        .into_iter()
        .flat_map(leaf_hash)
        .collect();
    assert_eq!(leaves, hashes);
    assert_eq!(
        world.read_sentences(),
        ["read 2 records as `tile/entries/000.p/2` of the ledger's tree"]
    );

    for (tile, status) in [
        // Above the leaves a hash stands for 256 records, and is everybody's.
        ("1/000.p/1", StatusCode::SERVICE_UNAVAILABLE),
        ("0/0", StatusCode::NOT_FOUND),
        ("0/000.p/0", StatusCode::NOT_FOUND),
        ("../checkpoint", StatusCode::NOT_FOUND),
    ] {
        let told = get(&world, &world.bearer(&alice), &format!("/api/v1/ledger/tile/{tile}")).await;
        assert_eq!(told.0, status, "{tile}");
    }
    for tile in ["0/000", "0/000.p/3"] {
        let told = get(&world, &world.bearer(&eve), &format!("/api/v1/ledger/tile/{tile}")).await;
        assert_eq!(told.0, StatusCode::SERVICE_UNAVAILABLE, "{tile}");
    }
    let (status, ..) = get(&world, "no token", "/api/v1/ledger/tile/0/000.p/2").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

const TILE: &str = "/api/v1/ledger/tile/0/000.p/2";
const SEARCH: &str = "/api/v1/audit/records";

#[tokio::test]
async fn who_reads_the_tree_takes_no_place_of_those_who_search() {
    let no_search = world_with(|api| api.searches = Places::new(0, 0));
    let no_proof = world_with(|api| api.proofs = Places::new(0, 0));
    for (world, of_tile, of_search) in [
        (&no_search, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS),
        (&no_proof, StatusCode::TOO_MANY_REQUESTS, StatusCode::OK),
    ] {
        let eve = world.signed_in(3, "eve", &["auditors"]);
        world.read("a-1", 1, "alice", "pods");
        for (target, expected) in [(TILE, of_tile), (SEARCH, of_search)] {
            let (status, ..) = get(world, &world.bearer(&eve), target).await;
            assert_eq!(status, expected, "{target}");
        }
    }
}

#[tokio::test]
async fn a_proof_ends_with_its_time_and_its_place_comes_back() {
    let world = world_with(|api| {
        api.proof_time = Duration::ZERO;
        api.proofs = Places::new(1, 1);
    });
    let eve = world.signed_in(3, "eve", &["auditors"]);
    world.read("a-1", 1, "alice", "pods");
    for target in [TILE, "/api/v1/audit/records/a-1/receipt", TILE] {
        let (status, _, body) = get(&world, &world.bearer(&eve), target).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{target}");
        let said = String::from_utf8(body).unwrap();
        assert!(said.contains("took too long"), "{said}");
    }
}
