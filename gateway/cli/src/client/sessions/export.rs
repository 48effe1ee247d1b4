//! Taking a recording away.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::ask::whole_id;
use super::stream::{Event, Standing, Stream};
use super::{Copied, ExportArguments};
use crate::Exit;
use crate::client::gateway::API;
use crate::client::home::Home;
use crate::client::session::{block_on_beside, ready};
use crate::client::trouble::Trouble;
use crate::terminal::{Reader, data, say};

pub(super) fn export(arguments: &ExportArguments) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let format = match arguments.format {
        Copied::Asciicast => "asciicast",
        Copied::AsciicastV2 => "asciicast-v2",
        Copied::Text => "text",
    };
    block_on_beside(async {
        let ready = ready(&home, arguments.gateway.url.as_deref(), API).await?;
        let id = whole_id(&ready, &arguments.id).await?;
        let mut stream = Stream::open(&ready, &id, format, false).await?;
        let mut out = match &arguments.file {
            Some(file) => Some(new_file(file)?),
            None => None,
        };
        let standing = loop {
            match stream.next().await? {
                Event::Text(text) => match (&mut out, &arguments.file) {
                    (Some(out), Some(file)) => {
                        out.write_all(text.as_bytes())
                            .map_err(|error| unwritable(file, &error))?;
                    }
                    _ if data(&text)? == Reader::Gone => return Ok(Exit::Done),
                    _ => {}
                },
                Event::End(standing) => break standing,
                Event::Out(..) | Event::Size(..) | Event::Words(_) => {}
            }
        };
        if standing == Standing::GoesOn {
            say("! the session goes on; this is what has been recorded up to now");
        }
        let exit = standing.judged()?;
        if let Some(file) = &arguments.file {
            say(&format!("✔ {} holds the recording", file.display()));
        }
        Ok(exit)
    })
}

/// Readable by its owner only, as the recording is.
fn new_file(path: &Path) -> Result<File, Trouble> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Trouble::new(Exit::Conflict, format!("`{}` is there already", path.display())).remedy("name another file")
        }
        _ => unwritable(path, &error),
    })
}

fn unwritable(path: &Path, error: &std::io::Error) -> Trouble {
    Trouble::new(Exit::Fault, format!("`{}` cannot be written", path.display()))
        .because(error.to_string())
        .remedy("name a file in a folder of yours that has room")
}
