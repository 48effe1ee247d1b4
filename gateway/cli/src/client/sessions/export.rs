//! Taking a recording away.
//!
//! A file has its name when all is in it, and never takes the place of another one: what was cut off stands in nobody's way.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::ask::whole_id;
use super::stream::{Event, Standing, Stream};
use super::{Copied, ExportArguments};
use crate::Exit;
use crate::client::document::escaped;
use crate::client::gateway::API;
use crate::client::home::Home;
use crate::client::session::{block_on_beside, ready};
use crate::client::signals::Ends;
use crate::client::trouble::{Trouble, clean_lines};
use crate::terminal::{Reader, data, say};

pub(super) fn export(arguments: &ExportArguments) -> Result<Exit, Trouble> {
    let Some(file) = &arguments.file else {
        return block_on_beside(to_stdout(arguments));
    };
    // Before the gateway records that somebody took it away.
    if file.symlink_metadata().is_ok() {
        return Err(taken(file));
    }
    block_on_beside(async {
        let mut ends = Ends::listen()?;
        tokio::select! {
            done = to_file(arguments, file) => done,
            exit = ends.next() => Ok(exit),
        }
    })
}

async fn open(arguments: &ExportArguments) -> Result<Stream, Trouble> {
    let home = Home::find()?;
    let format = match arguments.format {
        Copied::Asciicast => "asciicast",
        Copied::AsciicastV2 => "asciicast-v2",
        Copied::Text => "text",
    };
    let ready = ready(&home, arguments.gateway.url.as_deref(), API).await?;
    let id = whole_id(&ready, &arguments.id).await?;
    let stream = Stream::open(&ready, &id, format, false).await?;
    stream.note().iter().for_each(|note| say(&format!("! {note}")));
    if stream.is_of_messages() && format != "text" {
        say(&format!(
            "! messages passed here and no terminal's output, so a cast has none of them: gatescribe session export {id} --format text"
        ));
    }
    Ok(stream)
}

async fn to_stdout(arguments: &ExportArguments) -> Result<Exit, Trouble> {
    let mut stream = open(arguments).await?;
    let is_terminal = std::io::stdout().is_terminal();
    // A stranger's words: a terminal would obey some of them.
    let shown = |text: String| match arguments.format {
        _ if !is_terminal => text,
        Copied::Asciicast | Copied::AsciicastV2 => escaped(&text),
        Copied::Text => clean_lines(&text),
    };
    let standing = loop {
        match stream.next().await? {
            Event::Text(text) => {
                if data(&shown(text))? == Reader::Gone {
                    return Ok(Exit::Done);
                }
            }
            Event::End(standing) => break standing,
            Event::Out(..) | Event::In | Event::Size(..) | Event::Words(_) => {}
        }
    };
    say_that_it_goes_on(&standing);
    standing.judged()
}

async fn to_file(arguments: &ExportArguments, path: &Path) -> Result<Exit, Trouble> {
    let mut stream = open(arguments).await?;
    let mut copy = Copy::begin(path)?;
    let standing = loop {
        match stream.next().await? {
            Event::Text(text) => copy.write(&text)?,
            Event::End(standing) => break standing,
            Event::Out(..) | Event::In | Event::Size(..) | Event::Words(_) => {}
        }
    };
    say_that_it_goes_on(&standing);
    let file = path.display();
    match &standing {
        Standing::Whole | Standing::GoesOn => {
            copy.keep()?;
            say(&format!("✔ {file} holds the recording"));
        }
        // Nothing better comes of another attempt.
        Standing::Closed(_) | Standing::Incomplete(_) | Standing::Damaged(_) if !copy.is_empty => {
            copy.keep()?;
            say(&format!("! {file} holds what there is of the recording"));
        }
        Standing::Closed(_)
        | Standing::Incomplete(_)
        | Standing::Damaged(_)
        | Standing::Missing(_)
        | Standing::Nothing(_)
        | Standing::Unknown(_)
        | Standing::Erased(_) => {}
    }
    standing.judged()
}

fn say_that_it_goes_on(standing: &Standing) {
    if *standing == Standing::GoesOn {
        say("! the session goes on; this is what has been recorded up to now");
    }
}

/// A file under way. Dropped before it is kept, it is gone.
struct Copy {
    /// Readable by its owner only, as the recording is; in the folder where it will be, so that it can be named there.
    file: NamedTempFile,
    path: PathBuf,
    is_empty: bool,
}

impl Copy {
    fn begin(path: &Path) -> Result<Self, Trouble> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            is_empty: true,
        })
    }

    fn write(&mut self, text: &str) -> Result<(), Trouble> {
        self.is_empty &= text.is_empty();
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|error| unwritable(&self.path, &error))
    }

    /// Gives it its name, unless somebody else has by now.
    fn keep(self) -> Result<(), Trouble> {
        // A disk may say only now that it has no room.
        let synced = self.file.as_file().sync_all();
        synced.map_err(|error| unwritable(&self.path, &error))?;
        match self.file.persist_noclobber(&self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(taken(&self.path)),
            Err(error) => Err(unwritable(&self.path, &error.error)),
        }
    }
}

fn taken(path: &Path) -> Trouble {
    Trouble::new(Exit::Conflict, format!("`{}` is there already", path.display())).remedy("name another file")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Trouble {
    Trouble::new(Exit::Fault, format!("`{}` cannot be written", path.display()))
        .because(error.to_string())
        .remedy("name a file in a folder of yours that has room")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_copy_has_its_name_when_it_is_kept_and_takes_nobody_elses_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web-0.cast");
        let mut dropped = Copy::begin(&path).unwrap();
        dropped.write("half").unwrap();
        let part = names(folder.path());
        assert!(part.len() == 1 && part[0].starts_with(".web-0.cast."), "{part:?}");
        drop(dropped);
        assert!(names(folder.path()).is_empty());

        let [mut first, mut second] = [Copy::begin(&path).unwrap(), Copy::begin(&path).unwrap()];
        first.write("first").unwrap();
        second.write("second").unwrap();
        first.keep().unwrap();
        let refused = second.keep().unwrap_err();
        assert_eq!(refused.exit, Exit::Conflict, "{}", refused.text());
        assert_eq!(names(folder.path()), ["web-0.cast"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
