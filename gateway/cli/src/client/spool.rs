//! An answer that is taken as fast as it comes, however slowly it is read: it waits in a temporary file.
//!
//! The file has no name and is its owner's alone (`tempfile`): it goes with the process, however that ends. It is as long as the
//! answer; a disk that has no room for it is an error.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::http::HttpError;
use super::lines::{Source, heard};
use super::trouble::Trouble;
use crate::Exit;

/// Most bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Why not all of it is there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// The answer broke off.
    #[error(transparent)]
    Answer(#[from] HttpError),
    /// The temporary file cannot be made, written or read.
    #[error("there is no room for the answer in {}", .folder.display())]
    Disk {
        /// Where temporary files are.
        folder: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl SpoolError {
    fn disk(cause: io::Error) -> Self {
        let folder = std::env::temp_dir();
        Self::Disk { folder, cause }
    }
}

impl From<SpoolError> for Trouble {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Answer(error) => error.into(),
            SpoolError::Disk { ref cause, .. } => Self::new(Exit::Fault, error.to_string())
                .because(cause.to_string())
                .remedy("make room there, or name a folder that has some: TMPDIR=FOLDER gatescribe …"),
        }
    }
}

/// An answer under way into a file, and read out of it.
pub(crate) struct Spool {
    file: File,
    /// Where reading has come to.
    at: u64,
    /// Bytes that are in the file.
    written: watch::Receiver<u64>,
    /// None when its word has been heard.
    task: Option<JoinHandle<Result<(), SpoolError>>>,
}

impl Spool {
    /// Begins to take it. On a runtime with threads of its own that goes on also while the caller's thread is busy.
    pub(crate) fn take(
        body: impl Body<Data = Bytes, Error = HttpError> + Send + Unpin + 'static,
        host: &str,
    ) -> Result<Self, SpoolError> {
        let file = tempfile::tempfile().map_err(SpoolError::disk)?;
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(SpoolError::disk)?;
        Self::into_file(file, body, host)
    }

    fn into_file(
        file: File,
        body: impl Body<Data = Bytes, Error = HttpError> + Send + Unpin + 'static,
        host: &str,
    ) -> Result<Self, SpoolError> {
        let into = file.try_clone().map_err(SpoolError::disk)?;
        let (tells, written) = watch::channel(0);
        Ok(Self {
            file,
            at: 0,
            written,
            task: Some(tokio::spawn(keep(body, host.to_owned(), into, tells))),
        })
    }

    fn read(&self, upto: u64) -> Result<Bytes, SpoolError> {
        let length = usize::try_from(upto - self.at).map_or(PIECE, |length| length.min(PIECE));
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, self.at).map_err(SpoolError::disk)?;
        Ok(bytes.into())
    }
}

impl Source for Spool {
    type Error = SpoolError;

    async fn piece(&mut self) -> Option<Result<Bytes, SpoolError>> {
        loop {
            let written = *self.written.borrow_and_update();
            if written > self.at {
                let bytes = self.read(written);
                self.at += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                return Some(bytes);
            }
            if self.written.changed().await.is_err() && *self.written.borrow() == self.at {
                let ended = self.task.as_mut()?.await;
                self.task = None;
                return match ended {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(Err(error)),
                    Err(error) => Some(Err(SpoolError::disk(io::Error::other(error)))),
                };
            }
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

/// Until the end of the answer. Writing blocks for as long as the page cache does; nothing else waits for this thread.
async fn keep(
    mut body: impl Body<Data = Bytes, Error = HttpError> + Unpin,
    host: String,
    mut file: File,
    tells: watch::Sender<u64>,
) -> Result<(), SpoolError> {
    let mut written = 0;
    while let Some(frame) = heard(&host, body.frame()).await? {
        let Ok(bytes) = frame?.into_data() else { continue };
        file.write_all(&bytes).map_err(SpoolError::disk)?;
        written += bytes.len() as u64;
        tells.send_replace(written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures::SinkExt as _;
    use futures::channel::mpsc;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;
    use crate::client::lines::{Lines, NoLine};

    const HOST: &str = "gate.example";

    type Pieces = mpsc::Sender<Result<Frame<Bytes>, HttpError>>;

    fn answer() -> (Pieces, impl Body<Data = Bytes, Error = HttpError> + Send + Unpin) {
        let (pieces, body) = mpsc::channel(0);
        (pieces, StreamBody::new(body))
    }

    fn full(file: &str) -> File {
        File::options().write(true).open(file).unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_taken_to_its_end_while_nobody_reads_it_and_read_as_it_came() {
        let (mut pieces, body) = answer();
        let spool = Spool::take(body, HOST).unwrap();
        // More than any buffer on the way would hold.
        let line = vec![b'x'; 100_000];
        for _ in 0..200 {
            for piece in [&line, &b"\n"[..]] {
                pieces
                    .send(Ok(Frame::data(Bytes::copy_from_slice(piece))))
                    .await
                    .unwrap();
            }
        }
        drop(pieces);
        let mut lines = Lines::of(spool, 200_000);
        for _ in 0..200 {
            assert!(lines.next().await.unwrap().unwrap() == line);
        }
        assert!(lines.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_has_come_is_read_before_the_rest_comes() {
        let (mut pieces, body) = answer();
        let mut lines = Lines::of(Spool::take(body, HOST).unwrap(), 100);
        pieces
            .send(Ok(Frame::data(Bytes::from_static(b"one\ntw"))))
            .await
            .unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"one");
        pieces.send(Ok(Frame::data(Bytes::from_static(b"o\n")))).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), b"two");
        let host = HOST.to_owned();
        pieces.send(Err(HttpError::TooLong { host })).await.unwrap();
        assert!(matches!(
            lines.next().await,
            Err(NoLine::Broken(SpoolError::Answer(HttpError::TooLong { .. })))
        ));
    }

    /// A network that lets nothing through any more.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stands_still_is_given_up() {
        let (mut pieces, body) = answer();
        let mut lines = Lines::of(Spool::take(body, HOST).unwrap(), 100);
        let began = tokio::time::Instant::now();
        for _ in 0..3 {
            tokio::time::sleep(std::time::Duration::from_secs(44)).await;
            pieces
                .send(Ok(Frame::data(Bytes::from_static(b"one\n"))))
                .await
                .unwrap();
            assert_eq!(lines.next().await.unwrap().unwrap(), b"one");
        }
        let Err(NoLine::Broken(error)) = lines.next().await else {
            panic!("a line came")
        };
        assert_eq!(began.elapsed().as_secs(), 3 * 44 + 45);
        let trouble = Trouble::from(error);
        assert_eq!(trouble.exit, Exit::Unreachable);
        assert!(
            trouble.text().contains("the gateway says nothing any more"),
            "{}",
            trouble.text()
        );
    }

    #[tokio::test]
    async fn a_disk_without_room_is_named_with_what_helps() {
        let (mut pieces, body) = answer();
        let spool = Spool::into_file(full("/dev/full"), body, HOST).unwrap();
        pieces
            .send(Ok(Frame::data(Bytes::from_static(b"one\n"))))
            .await
            .unwrap();
        let Err(NoLine::Broken(error)) = Lines::of(spool, 100).next().await else {
            panic!("there is room")
        };
        let trouble = Trouble::from(error);
        assert_eq!(trouble.exit, Exit::Fault);
        for words in ["no room for the answer", "No space left on device", "TMPDIR="] {
            assert!(trouble.text().contains(words), "{}", trouble.text());
        }
    }

    #[tokio::test]
    async fn what_waits_is_its_owners_alone_and_has_no_name() {
        use std::os::unix::fs::MetadataExt as _;
        let (_pieces, body) = answer();
        let file = Spool::take(body, HOST).unwrap().file.metadata().unwrap();
        assert_eq!((file.mode() & 0o777, file.nlink()), (0o600, 0));
    }
}
