//! Applications that people put behind single sign-on: Prometheus (Debian's, with its classic pages) and JupyterLab with a kernel.

use std::io::{Read, Write};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::{Server, body_of, connect, python, web};
use crate::channels::{CLOSE, Frame, LAST, PING, PONG, TEXT, of_client};
use crate::tools::debian;
use crate::upgraded::{ACCEPT, KEY};

/// Starts Prometheus, which watches nothing. `external` is the URL by which people reach it, if that is another than its own; its
/// path becomes the prefix of all its addresses.
///
/// # Errors
/// It cannot be had, or never becomes ready.
pub fn prometheus(external: Option<&str>) -> anyhow::Result<Server> {
    let set = debian(&[
        "prometheus",
        "fonts-glyphicons-halflings",
        "libjs-bootstrap4",
        "libjs-d3",
        "libjs-eonasdan-bootstrap-datetimepicker",
        "libjs-jquery",
        "libjs-jquery-hotkeys",
        "libjs-moment",
        "libjs-moment-timezone",
        "libjs-mustache",
        "libjs-popper.js",
        "libjs-rickshaw",
    ])?;
    let mut server = Server::start("prometheus", |folder, listen| {
        let mut command = set.command("prometheus")?;
        let flag = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let configuration = folder.write("prometheus.yml", "global: {}\n")?;
        command.arg(flag("config.file", &configuration.display()));
        command.arg(flag("storage.tsdb.path", &folder.path().join("data").display()));
        command.arg(flag(
            "web.local-assets",
            &set.root().join("usr/share/prometheus/web").display(),
        ));
        command.arg(flag("web.listen-address", &listen));
        if let Some(external) = external {
            command.arg(flag("web.external-url", &external));
        }
        Ok(command)
    })?;
    // Its prefix is the path of that URL, and so is that of its readiness.
    let prefix = external
        .and_then(|url| url.split_once("://"))
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or(String::new(), |(_, path)| format!("/{}", path.trim_end_matches('/')));
    server.comes_to("Prometheus is ready", |server| {
        let answer = server.ask(&format!("GET {}/-/ready", prefix.trim_end_matches('/')), "")?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        Ok(())
    })?;
    Ok(server)
}

/// JupyterLab.
#[derive(Debug)]
pub struct Jupyter {
    /// Its server.
    pub server: Server,
    /// The path that all its addresses begin with, `/` at both ends.
    pub base: String,
    /// Its own token, where it asks for one.
    pub token: Option<String>,
}

impl Jupyter {
    /// Starts it with all its addresses below `base` (`/` at both ends). With a token it asks for that; without one it trusts
    /// whoever comes, as it does behind a gateway that has looked. `origin` is where pages may open WebSockets from, if that is
    /// another host than the one that is asked.
    ///
    /// # Errors
    /// It is not there, or never becomes ready.
    pub fn start(base: &str, token: Option<&str>, origin: Option<&str>) -> anyhow::Result<Self> {
        let mut server = Server::start("jupyter", |folder, listen| {
            let mut command = Command::new(python("jupyter", "jupyter-lab")?);
            let root = folder.path();
            for variable in [
                "HOME",
                "IPYTHONDIR",
                "JUPYTER_CONFIG_DIR",
                "JUPYTER_DATA_DIR",
                "JUPYTER_RUNTIME_DIR",
            ] {
                command.env(variable, root);
            }
            command.current_dir(root).args(["--no-browser", "--allow-root"]);
            let mut set = |name: &str, value: &str| {
                command.arg(format!("--{name}={value}"));
            };
            set("ip", &listen.ip().to_string());
            set("port", &listen.port().to_string());
            set("ServerApp.port_retries", "0");
            set("ServerApp.root_dir", &root.display().to_string());
            set("ServerApp.base_url", base);
            set("IdentityProvider.token", token.unwrap_or_default());
            set("ServerApp.allow_remote_access", "True");
            // Else it asks the package registry for extensions.
            set("LabApp.extension_manager", "readonly");
            set("LabApp.check_for_updates_class", "jupyterlab.NeverCheckForUpdate");
            set("LabApp.news_url", "");
            if let Some(origin) = origin {
                set("ServerApp.allow_origin", origin);
            }
            Ok(command)
        })?;
        server.comes_to("JupyterLab is ready", |server| {
            let answer = server.ask(&format!("GET {base}api"), "")?;
            ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            Ok(())
        })?;
        Ok(Self {
            server,
            base: base.to_owned(),
            token: token.map(str::to_owned),
        })
    }

    /// The field that proves who one is, ended by CRLF; nothing where there is no token.
    #[must_use]
    pub fn proof(&self) -> String {
        let token = self.token.as_ref();
        token.map_or(String::new(), |token| format!("Authorization: token {token}\r\n"))
    }

    /// Starts a kernel; its id.
    ///
    /// # Errors
    /// The server refuses.
    pub fn kernel(&self) -> anyhow::Result<String> {
        let line = format!("POST {}api/kernels", self.base);
        let answer = self
            .server
            .ask(&line, &format!("{}Content-Length: 0\r\n", self.proof()))?;
        ensure!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        let told: Value = serde_json::from_slice(body_of(answer.as_bytes())?)?;
        Ok(told["id"].as_str().context("a kernel's id")?.to_owned())
    }

    /// Runs code in a kernel, straight over a WebSocket to the server, and gives the result's text.
    ///
    /// # Errors
    /// The server refuses, or the code does.
    pub fn run(&self, kernel: &str, code: &str) -> anyhow::Result<String> {
        let mut stream = connect(self.server.address())?;
        let head = format!(
            "GET {}api/kernels/{kernel}/channels HTTP/1.1\r\nHost: {}\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            self.base,
            self.server.address(),
            self.proof()
        );
        stream.write_all(head.as_bytes())?;
        let answer = web::read_head(&mut stream)?;
        ensure!(
            answer.starts_with("HTTP/1.1 101 ") && answer.contains(ACCEPT),
            "{answer}"
        );
        result_of(&mut stream, code)
    }
}

/// Asks the kernel at the other end of a WebSocket to run code, and reads until it says the result (Jupyter's messages, with the
/// channel's name among the members, as the server speaks where nobody asks for a subprotocol).
///
/// # Errors
/// The code fails, or the connection ends.
pub fn result_of(stream: &mut (impl Read + Write), code: &str) -> anyhow::Result<String> {
    let asked = json!({
        "header": {"msg_id": "bench-1", "msg_type": "execute_request", "username": "bench", "session": "bench", "version": "5.3"},
        "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
        "content": {"code": code, "silent": false, "store_history": true, "user_expressions": {}, "allow_stdin": false},
    });
    stream.write_all(&of_client(LAST | TEXT, asked.to_string().as_bytes()))?;
    loop {
        let frame = Frame::read(stream)?;
        match frame.kind() {
            TEXT => {}
            PING => {
                stream.write_all(&of_client(LAST | PONG, &frame.payload))?;
                continue;
            }
            CLOSE => bail!("the kernel's connection ends: {frame:?}"),
            _ => continue,
        }
        let told: Value = serde_json::from_slice(&frame.payload)?;
        if told["parent_header"]["msg_id"] != "bench-1" {
            continue;
        }
        match told["msg_type"].as_str() {
            Some("execute_result") => {
                let text = told["content"]["data"]["text/plain"].as_str();
                return text.map(str::to_owned).context(told.to_string());
            }
            Some("error") => bail!("{}", told["content"]),
            _ => {}
        }
    }
}
