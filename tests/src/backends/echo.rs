//! Servers that tell what they saw: each answers a request that it parsed with one JSON document, and writes the same into a
//! journal before, so that requests are counted also where answers are lost.
//!
//! nginx, HAProxy and Apache are asked themselves and put nothing behind them: what they tell is what their own parser made of
//! the bytes. nginx answers from its JavaScript module and HAProxy from Lua; Apache runs a CGI program, and its forensic
//! log tells the lines of each head that it parsed, also of those that never came to the program.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::proxy::{self, Place};
use super::seen::Seen;
use super::{Server, body_of, own, python};
use crate::counterparts::program;
use crate::process::Folder;

const JOURNAL: &str = "journal";
/// nginx's and Apache's own word on each request, a line each.
const LOG: &str = "requests.log";
/// What HAProxy's lines of that kind begin with: they stand among its other output.
const MARK: &str = "request ";

/// Whose parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Go's net/http.
    Go,
    /// Node's http.
    Node,
    /// uvicorn on h11.
    UvicornH11,
    /// uvicorn on httptools, which is Node's parser.
    UvicornHttptools,
    /// gunicorn, with threads.
    Gunicorn,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Apache.
    Apache,
    /// Python's http.server, which reads no body and takes its bytes for the next request. Not among [`Kind::ALL`].
    HttpServer,
}

/// What a server tells of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    /// How names were written.
    pub names: bool,
    /// The order of lines; without it they are told in the order of names.
    pub order: bool,
    /// Two lines of one name as two; without it as one, with `, ` between.
    pub lines: bool,
    /// Names with an underscore. Who does not keep them takes their lines away before an application sees them.
    pub underscores: bool,
}

impl Kind {
    /// All that read what they are sent.
    pub const ALL: [Self; 8] = [
        Self::Go,
        Self::Node,
        Self::UvicornH11,
        Self::UvicornHttptools,
        Self::Gunicorn,
        Self::Nginx,
        Self::Haproxy,
        Self::Apache,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Node => "node",
            Self::UvicornH11 => "uvicorn-h11",
            Self::UvicornHttptools => "uvicorn-httptools",
            Self::Gunicorn => "gunicorn",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Apache => "apache",
            Self::HttpServer => "http-server",
        }
    }

    /// What it tells of a head. All of them tell values as bytes.
    #[must_use]
    pub const fn keeps(self) -> Keeps {
        Keeps {
            names: matches!(self, Self::Node | Self::Nginx | Self::Apache | Self::HttpServer),
            order: !matches!(self, Self::Go),
            lines: !matches!(self, Self::Apache),
            underscores: !matches!(self, Self::Gunicorn | Self::Nginx),
        }
    }
}

/// A running one.
#[derive(Debug)]
pub struct Echo {
    /// Which.
    pub kind: Kind,
    /// Its server.
    pub server: Server,
}

impl Echo {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be had, or does not start.
    pub fn start(kind: Kind) -> anyhow::Result<Self> {
        let server = match kind {
            Kind::Nginx => proxy::Kind::Nginx.start(nginx)?,
            Kind::Haproxy => proxy::Kind::Haproxy.start_with(haproxy, |command, folder| {
                command.env("JOURNAL", folder.path().join(JOURNAL));
                Ok(())
            })?,
            Kind::Apache => proxy::Kind::Apache.start(apache)?,
            Kind::Go => Server::start(kind.name(), go)?,
            Kind::Node => Server::start(kind.name(), node)?,
            Kind::UvicornH11 => Server::start(kind.name(), |folder, listen| uvicorn("h11", folder, listen))?,
            Kind::UvicornHttptools => {
                Server::start(kind.name(), |folder, listen| uvicorn("httptools", folder, listen))?
            }
            Kind::Gunicorn => Server::start(kind.name(), gunicorn)?,
            Kind::HttpServer => Server::start(kind.name(), http_server)?,
        };
        Ok(Self { kind, server })
    }

    /// Sends these very bytes, whose last request ends the connection, and gives what the server says that it saw in its last
    /// answer.
    ///
    /// # Errors
    /// It answers nothing, or no such document.
    pub fn ask(&self, request: &[u8]) -> anyhow::Result<Seen> {
        let answer = self.server.exchange(request)?;
        let text = body_of(&answer)?;
        let begin = memchr::memmem::rfind(text, b"{\"method\"").with_context(|| self.told(&answer))?;
        let document = text.get(begin..).unwrap_or_default();
        let end = memchr::memchr(b'\n', document).with_context(|| self.told(&answer))?;
        Seen::read(document.get(..end).unwrap_or_default())
    }

    fn told(&self, answer: &[u8]) -> String {
        format!("{}: {:?}", self.kind.name(), String::from_utf8_lossy(answer))
    }

    /// What it saw so far, in the order in which the requests were read. Of Apache these are all whose head it parsed and that
    /// came to their end or to the program behind it.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn seen(&self) -> anyhow::Result<Vec<Seen>> {
        let journal = self.lines(JOURNAL)?;
        let journal = journal.iter().map(|line| Seen::read(line));
        let journal = journal.collect::<anyhow::Result<Vec<Seen>>>()?;
        match self.kind {
            Kind::Apache => forensic(&self.lines(LOG)?, &journal),
            _ => Ok(journal),
        }
    }

    /// The same once there are so many, in case they are not read yet.
    ///
    /// # Errors
    /// There never are.
    pub fn seen_after(&mut self, count: usize) -> anyhow::Result<Vec<Seen>> {
        let (kind, what) = (self.kind, format!("{count} requests"));
        let server = &self.server;
        let seen = crate::wait::try_until(&what, crate::wait::PATIENCE, || {
            let seen = self.seen()?;
            ensure!(seen.len() >= count, "{} saw {}", kind.name(), seen.len());
            Ok(seen)
        });
        seen.with_context(|| server.log_end())
    }

    /// What nginx and HAProxy say in their own logs of each request that has ended, malformed ones and those whose body never came
    /// among them: the status (400 where it was no request, none where there was no answer) and the request line, in which they
    /// escape what does not print.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn logged(&self) -> anyhow::Result<Vec<(Option<u16>, String)>> {
        let lines: Vec<String> = match self.kind {
            Kind::Nginx => {
                let lines = self.lines(LOG)?.into_iter();
                lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
            }
            Kind::Haproxy => {
                let log = self.server.process().log();
                log.lines()
                    .filter_map(|line| Some(line.strip_prefix(MARK)?.to_owned()))
                    .collect()
            }
            _ => Vec::new(),
        };
        let read = |line: &String| {
            let (status, request) = line.split_once(' ')?;
            Some((status.parse().ok(), request.to_owned()))
        };
        lines
            .iter()
            .map(|line| read(line).with_context(|| line.clone()))
            .collect()
    }

    /// The whole lines of a file of its folder.
    fn lines(&self, name: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let path = self.server.folder().path().join(name);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        let whole = memchr::memrchr(b'\n', &text).and_then(|end| text.get(..end));
        let lines = whole.map(|whole| whole.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        Ok(lines.into_iter().flatten().collect())
    }
}

fn go(folder: &Folder, listen: SocketAddr) -> anyhow::Result<Command> {
    let mut command = Command::new(program("backend-echo")?);
    command.arg("-listen").arg(listen.to_string());
    command.arg("-journal").arg(folder.path().join(JOURNAL));
    Ok(command)
}

fn node(folder: &Folder, listen: SocketAddr) -> anyhow::Result<Command> {
    let mut command = Command::new("node");
    command.arg(own("echo.mjs"));
    command.args([listen.ip().to_string(), listen.port().to_string()]);
    command.arg(folder.path().join(JOURNAL));
    Ok(command)
}

fn uvicorn(parser: &str, folder: &Folder, listen: SocketAddr) -> anyhow::Result<Command> {
    let mut command = application("uvicorn", folder)?;
    command.arg("--app-dir").arg(own(""));
    command.args(["--host", &listen.ip().to_string(), "--port", &listen.port().to_string()]);
    command.args(["--http", parser, "--lifespan", "off", "--timeout-keep-alive", "75"]);
    command.arg("asgi:application");
    Ok(command)
}

fn gunicorn(folder: &Folder, listen: SocketAddr) -> anyhow::Result<Command> {
    let mut command = application("gunicorn", folder)?;
    command.arg("--config").arg(own("gunicorn.conf.py"));
    command.args(["--bind", &listen.to_string(), "wsgi:application"]);
    Ok(command)
}

fn http_server(folder: &Folder, listen: SocketAddr) -> anyhow::Result<Command> {
    let mut command = application("python3", folder)?;
    command.arg(own("http_server.py"));
    command.args([listen.ip().to_string(), listen.port().to_string()]);
    Ok(command)
}

/// A Python server; what Python compiles is not written beside the sources.
fn application(server: &str, folder: &Folder) -> anyhow::Result<Command> {
    let mut command = Command::new(python("servers", server)?);
    command
        .env("JOURNAL", folder.path().join(JOURNAL))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder.path());
    Ok(command)
}

fn nginx(place: &Place<'_>) -> anyhow::Result<String> {
    let root = place.folder.path().display();
    // Bodies stay in memory, where the script finds them.
    Ok(place.nginx(&format!(
        " log_format bench '$status $request';\n js_path {};\n js_import echo from echo.njs;\n\
         client_max_body_size 16m; client_body_buffer_size 16m; client_body_in_single_buffer on;\n\
         server {{ listen {}; access_log {root}/{LOG} bench; set $journal {root}/{JOURNAL}; location / {{ js_content echo.echo; }} }}",
        own("").display(),
        place.listen
    )))
}

fn haproxy(place: &Place<'_>) -> anyhow::Result<String> {
    // The head has to fit a second time into a buffer, as base64.
    Ok(format!(
        "global\n  lua-load {}\n  tune.bufsize 131072\n  log stdout format raw local0\n\
         defaults\n  mode http\n  timeout client 75s\n  timeout server 75s\n  timeout connect 75s\n  log global\n  option dontlognull\n\
         frontend echo\n  bind {}\n  log-format \"{MARK}%ST %r\"\n\
         http-request set-var(txn.target) url,base64\n  http-request set-var(txn.block) req.hdrs,base64\n\
         http-request use-service lua.echo\n",
        own("echo.lua").display(),
        place.listen
    ))
}

fn apache(place: &Place<'_>) -> anyhow::Result<String> {
    let root = place.folder.path();
    // Its workers are somebody else where it is started as root: the program lies where they may come, and they may write.
    let echo = root.join("echo");
    std::fs::copy(program("backend-echo")?, &echo)?;
    let journal = place.folder.write(JOURNAL, "")?;
    std::fs::set_permissions(&journal, PermissionsExt::from_mode(0o666))?;
    let text = format!(
        "AllowEncodedSlashes NoDecode\nSetEnv JOURNAL {1}\nForensicLog {0}/{LOG}\nScriptSock {0}/cgid.sock\n\
         ScriptAliasMatch \"^\" \"{2}\"\n",
        root.display(),
        journal.display(),
        echo.display()
    );
    place.apache(&["alias", "env", "unique_id", "log_forensic", "cgid"], &text)
}

/// The requests of Apache's forensic log: `+ID|REQUEST LINE|NAME:VALUE|…` at a head, with `%xx` for what does not print and for
/// the separators, and `-ID` at the request's end. Body and environment are those that the CGI program told of the
/// request, if it came there; one that has neither ended nor come there is still to come.
fn forensic(log: &[Vec<u8>], journal: &[Seen]) -> anyhow::Result<Vec<Seen>> {
    let ended: HashSet<&[u8]> = log.iter().filter_map(|line| line.strip_prefix(b"-")).collect();
    let told: HashMap<&[u8], &Seen> = journal
        .iter()
        .filter_map(|seen| Some((seen.variable("UNIQUE_ID")?, seen)))
        .collect();
    let mut all = Vec::new();
    for line in log.iter().filter_map(|line| line.strip_prefix(b"+")) {
        let mut parts = line.split(|byte| *byte == b'|');
        let id = parts.next().unwrap_or_default();
        let told = told.get(id);
        if told.is_none() && !ended.contains(id) {
            continue;
        }
        let request = unescaped(parts.next().context("no request line")?);
        let mut words = request.split(|byte| *byte == b' ').map(<[u8]>::to_vec);
        all.push(Seen {
            method: words.next().unwrap_or_default(),
            target: words.next().unwrap_or_default(),
            headers: parts.map(forensic_field).collect::<anyhow::Result<_>>()?,
            trailers: Vec::new(),
            environment: told.map(|told| told.environment.clone()).unwrap_or_default(),
            body: told.map(|told| told.body.clone()).unwrap_or_default(),
        });
    }
    Ok(all)
}

fn forensic_field(field: &[u8]) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let colon = memchr::memchr(b':', field).with_context(|| String::from_utf8_lossy(field).into_owned())?;
    let (name, value) = field.split_at(colon);
    Ok((unescaped(name), unescaped(value.get(1..).unwrap_or_default())))
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let code = behind
            .get(..2)
            .filter(|_| first == b'%')
            .and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        plain.push(code.unwrap_or(first));
        rest = if code.is_some() {
            behind.get(2..).unwrap_or_default()
        } else {
            behind
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apaches_forensic_log_is_read_as_bytes() {
        let line = b"+id-1|POST /a%252fb?x=%7c HTTP/1.1|Host:h%3a80|X-One:%ff a, b|Empty:";
        assert_eq!(forensic(&[line.to_vec()], &[]).unwrap(), [], "it is still to come");
        let seen = forensic(&[line.to_vec(), b"-id-1".to_vec()], &[]).unwrap();
        let [seen] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert_eq!(
            (seen.method.as_slice(), seen.target.as_slice()),
            (&b"POST"[..], &b"/a%2fb?x=|"[..])
        );
        assert_eq!(seen.values("host"), [b"h:80"]);
        assert_eq!(seen.values("x-one"), [b"\xff a, b"]);
        assert_eq!(seen.values("empty"), [b""]);
        assert!(!seen.body.complete, "nobody told of a body");
        assert_eq!(unescaped(b"%4"), b"%4");
    }
}
