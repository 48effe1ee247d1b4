//! Sessions for the gateway's own API: the table of those that go on, and the recordings of all.

use std::path::PathBuf;
use std::sync::Arc;

use console::api::{CannotOpen, Sessions};
use model::live::LiveSession;
use model::subject::SubjectId;
use proxy::session::Registry;
use recording::{Anchor, ReadError, Recording};

use super::part_keys::StoredKeys;

/// The table, the folder of recordings, and their keys.
#[derive(Debug)]
pub(super) struct RecordedSessions {
    pub(super) calls: Arc<Registry>,
    pub(super) folder: PathBuf,
    pub(super) keys: StoredKeys,
}

impl Sessions for RecordedSessions {
    fn live(&self) -> Vec<LiveSession> {
        self.calls.sessions()
    }

    fn one(&self, id: &str) -> Option<LiveSession> {
        self.calls.session(id)
    }

    fn end(&self, id: &str, why: &str) -> bool {
        self.calls.end_one(id, why).is_ok()
    }

    fn recording(
        &self,
        subject: &SubjectId,
        session: &str,
        anchors: &[Anchor],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Recording, CannotOpen> {
        // As the file is named, and nothing else: what stands in a record names no other file.
        let id = uuid::Uuid::try_parse(session).map_err(|error| CannotOpen::Unreadable(error.to_string()))?;
        let key = self.keys.recording_key(subject, session).map_err(CannotOpen::NotNow)?;
        let Some(key) = key else {
            let erased = self
                .keys
                .erased_recording(subject, session)
                .map_err(CannotOpen::NotNow)?;
            return Err(erased.map_or(CannotOpen::NoKey, CannotOpen::Erased));
        };
        let recording = Recording::open_while(&self.folder.join(format!("{id}.rec")), &key, anchors, go_on);
        let recording = recording.map_err(|error| unreadable(&error))?;
        if recording.survey().session == id {
            Ok(recording)
        } else {
            Err(CannotOpen::Unreadable("it is another session's".to_owned()))
        }
    }
}

fn unreadable(error: &ReadError) -> CannotOpen {
    match error {
        ReadError::Io(cause) if cause.kind() == std::io::ErrorKind::NotFound => CannotOpen::Missing,
        // Rights, open files, the disk: nothing of it is the recording's.
        ReadError::Io(cause) => CannotOpen::NotNow(format!("its file cannot be read: {cause}")),
        ReadError::GivenUp => CannotOpen::GivenUp,
        other => {
            let cause = std::error::Error::source(other).map(|cause| format!(": {cause}"));
            CannotOpen::Unreadable(format!("{other}{}", cause.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_now_is_no_damaged_one() {
        let told = |error: Error| unreadable(&ReadError::Io(error));
        for errno in [
            nix::errno::Errno::EACCES,
            nix::errno::Errno::EIO,
            nix::errno::Errno::EMFILE,
        ] {
            assert!(
                matches!(told(errno.into()), CannotOpen::NotNow(why) if why.contains("cannot be read")),
                "{errno}"
            );
        }
        assert!(matches!(told(ErrorKind::NotFound.into()), CannotOpen::Missing));
        assert!(matches!(
            unreadable(&ReadError::NotARecording),
            CannotOpen::Unreadable(_)
        ));
        assert!(matches!(unreadable(&ReadError::GivenUp), CannotOpen::GivenUp));
    }
}
