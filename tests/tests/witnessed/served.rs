//! What a gateway hands to whoever asks for its log, and what `ledger tiles` writes, is witnessed, also while records come in every moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;

/// How often each reader looks.
const LOOKS: usize = 6;

/// A gateway whose ledger two witnesses cosign, and what was witnessed of it first.
struct World {
    gateway: Gateway,
    key: String,
    ours: Witness,
    theirs: PublicWitness,
}

fn world(upstream: &FakeApiServer) -> anyhow::Result<World> {
    let mut gateway = start(upstream)?;
    let key = gateway.public_key()?;
    let ours = Witness::over_tls(&[&key])?;
    let theirs = PublicWitness::of(&[&key])?;
    let configured = [ours.configured("ours"), theirs.configured("theirs")];
    with_witnesses(&mut gateway, &configured, None)?;
    all_witnessed(&gateway)?;
    Ok(World {
        gateway,
        key,
        ours,
        theirs,
    })
}

impl World {
    /// The log as an auditor verifies it from afar, with both witnesses: how many records it has, all of which are witnessed. Each time it goes on from
    /// what was served before, which is left in the auditor's `served.checkpoint`.
    fn verified(&self, auditor: &Person<'_>) -> anyhow::Result<u64> {
        let told = auditor.types(&format!(
            "gatescribe ledger verify {} --key {} --witness {} --witness {} --quorum 2 --since served.checkpoint -o json",
            self.gateway.url, self.key, self.ours.key, self.theirs.key
        ))?;
        ensure!(told.code == 0, "{told}");
        let report = told.json()?;
        ensure!(report["witnessedUpTo"] == report["size"], "{report}");
        report["size"].as_u64().context("a size")
    }

    /// The same by Go's and transparency-dev's libraries.
    fn by_strangers(&self, auditor: &Person<'_>) -> anyhow::Result<u64> {
        let mut command = Command::new(program("tlog")?);
        let url = format!("{}/api/v1/ledger", self.gateway.url);
        let since = auditor.folder().join("served.checkpoint");
        command.args(["tree", &self.key, &url, text(&since)?, &self.ours.key, &self.theirs.key]);
        command.env("TOKEN", self.token()?);
        let read = run(command, "", PATIENCE)?;
        ensure!(read.code == 0, "{read}");
        Ok(read.stdout.trim().parse()?)
    }

    fn token(&self) -> anyhow::Result<String> {
        let handle = self.gateway.sign_in("carol")?.handle;
        Ok(self.gateway.renew(&handle, "gatescribe-api")?.token)
    }

    /// What is served now, cosigned by both; the auditor keeps it.
    fn served(&self, auditor: &Person<'_>) -> anyhow::Result<u64> {
        let authority = self.gateway.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(authority)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let token = self.token()?;
        let head = format!("Host: {authority}\r\nAuthorization: Bearer {token}");
        write!(stream, "GET /api/v1/ledger/checkpoint HTTP/1.0\r\n{head}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, note) = answer.split_once("\r\n\r\n").context("no HTTP")?;
        ensure!(head.starts_with("HTTP/1.0 200 "), "{answer}");
        let size = self.cosigned(note.as_bytes())?;
        fs::write(auditor.folder().join("served.checkpoint"), note)?;
        Ok(size)
    }

    /// The size of a checkpoint that both witnesses cosigned.
    fn cosigned(&self, checkpoint: &[u8]) -> anyhow::Result<u64> {
        let note = Note::parse(checkpoint)?;
        let keys: [VerifierKey; 3] = [self.key.parse()?, self.ours.key.parse()?, self.theirs.key.parse()?];
        let vouched = note.verify(&keys).map_or(0, |vouched| vouched.len());
        ensure!(vouched == 3, "{note}");
        Ok(Checkpoint::parse(note.text())?.size)
    }

    /// Runs `look` while records come in every moment.
    fn while_busy<T>(&self, look: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let (client, over) = (self.gateway.client()?, AtomicBool::new(false));
        let bearer = format!("Bearer {}", self.gateway.sign_in("alice")?.token);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| -> anyhow::Result<()> {
                while !over.load(Ordering::Relaxed) {
                    let status = client.get(TARGET, &[("Authorization", &bearer)])?.status;
                    ensure!(status == 200, "{status}");
                }
                Ok(())
            });
            let looked = look();
            over.store(true, Ordering::Relaxed);
            work.join().map_err(|_| anyhow::anyhow!("the work panicked"))??;
            looked
        })
    }
}

#[test]
fn promise_5_a_busy_ledger_is_served_and_exported_with_its_cosignatures_always() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let world = world(&upstream)?;
    let carol = Person::signed_in(&world.gateway, "carol")?;
    let out = Folder::new("tiles")?;
    let out = out.path().join("served");
    let ledger_dir = world.gateway.ledger();
    let export = || -> anyhow::Result<u64> {
        let made = ledger(&["tiles", text(&ledger_dir)?, text(&out)?])?;
        ensure!(made.code == 0 && made.stdout.contains(" records witnessed, "), "{made}");
        world.cosigned(&fs::read(out.join("checkpoint"))?)
    };
    let before = world.served(&carol)?;
    let sizes = world.while_busy(|| {
        let mut sizes = vec![[before; 2]];
        let begun = Instant::now();
        // On a machine that does all of them between two announcements to the witnesses more of them are needed.
        while sizes.len() <= LOOKS || (sizes[sizes.len() - 1][0] == before && begun.elapsed() < PATIENCE) {
            let mut seen = [world.served(&carol)?, 0];
            for size in [
                world.verified(&carol)?,
                world.by_strangers(&carol)?,
                world.served(&carol)?,
            ] {
                ensure!(size >= seen[0], "{size} records, and {} before", seen[0]);
                seen[0] = size;
            }
            seen[1] = export()?;
            sizes.push(seen);
        }
        Ok(sizes)
    })?;
    let grow = sizes.windows(2).all(|two| two[0] <= two[1]);
    assert!(grow, "nobody is given fewer than before: {sizes:?}");
    assert!(
        sizes[sizes.len() - 1][0] > before,
        "records came in, and were witnessed: {sizes:?}"
    );
    // What is newer is told and left out, and comes when it is asked for.
    let url = text(&out)?;
    let newest = ledger(&["tiles", text(&ledger_dir)?, url, "--newest"])?;
    assert!(
        newest.code == 0 && newest.stdout.contains(" records signed, "),
        "{newest}"
    );
    let signed = Checkpoint::parse(Note::parse(&fs::read(out.join("checkpoint"))?)?.text())?.size;
    assert!(signed >= sizes[sizes.len() - 1][1]);
    Ok(())
}

#[test]
fn promise_5_a_start_while_no_witness_answers_takes_no_cosignature_from_what_is_served() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut world = world(&upstream)?;
    world.theirs.end()?;
    world.ours.stop()?;
    // Newer ones that nobody cosigns.
    read(&world.gateway, 3)?;
    let before = {
        let carol = Person::signed_in(&world.gateway, "carol")?;
        world.served(&carol)?
    };
    let size = try_until("newer ones are signed", PATIENCE, || {
        let note = Note::parse(&fs::read(world.gateway.ledger().join("checkpoint"))?)?;
        let size = Checkpoint::parse(note.text())?.size;
        ensure!(size > before, "{size}");
        Ok(size)
    })?;
    world.gateway.process().signal(Signal::SIGTERM)?;
    world.gateway.start_again()?;
    let carol = Person::signed_in(&world.gateway, "carol")?;
    assert_eq!(world.served(&carol)?, before, "and not {size}");
    assert_eq!(world.verified(&carol)?, before);
    assert_eq!(world.by_strangers(&carol)?, before);

    // So it is with files; and a folder that was given more is not cut.
    let out = Folder::new("tiles")?;
    let out = out.path().join("served");
    let ledger_dir = world.gateway.ledger();
    let export = |more: &[&str]| -> anyhow::Result<(Output, u64)> {
        let made = ledger(&[&["tiles", text(&ledger_dir)?, text(&out)?], more].concat())?;
        ensure!(made.code == 0, "{made}");
        let note = Note::parse(&fs::read(out.join("checkpoint"))?)?;
        Ok((made, Checkpoint::parse(note.text())?.size))
    };
    let (made, has) = export(&[])?;
    assert_eq!(has, before, "{made}");
    assert!(
        made.stdout.starts_with(&format!("{before} records witnessed, "))
            && made
                .stdout
                .ends_with(" newer ones are signed and not witnessed yet: they are left out\n"),
        "{made}"
    );
    let (made, newest) = export(&["--newest"])?;
    assert!(newest >= size && made.stdout.contains(" records signed, "), "{made}");
    let (made, has) = export(&[])?;
    assert_eq!(has, newest, "{made}");
    assert!(made.stdout.contains(" records signed, 0 files written, "), "{made}");
    Ok(())
}
