//! nginx, HAProxy, Apache, Caddy and Envoy with a configuration of one's own: the proxies that people keep in front of a gateway
//! or behind it. nginx, HAProxy, Apache and Caddy are Debian's, Envoy comes from a wheel.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::{Server, python};
use crate::process::Folder;
use crate::tools::{Debian, debian};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// nginx 1.22, with its JavaScript module.
    Nginx,
    /// HAProxy 2.6, with Lua.
    Haproxy,
    /// Apache 2.4.
    Apache,
    /// Caddy 2.6.
    Caddy,
    /// Envoy 1.40.
    Envoy,
}

/// What a configuration has to know.
#[derive(Debug)]
pub struct Place<'p> {
    /// Where it shall listen.
    pub listen: SocketAddr,
    /// Its folder, for what it writes.
    pub folder: &'p Folder,
    /// Where the modules of nginx and Apache are.
    modules: PathBuf,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Haproxy, Self::Apache, Self::Caddy, Self::Envoy];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Apache => "apache",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
        }
    }

    /// Starts it with the text that `configure` gives: a whole configuration, of Caddy in the Caddyfile's format, of Envoy in YAML.
    /// For nginx and Apache see [`Place::nginx`] and [`Place::apache`].
    ///
    /// # Errors
    /// It cannot be had, refuses the configuration, or does not listen where it shall.
    pub fn start(self, configure: impl FnOnce(&Place<'_>) -> anyhow::Result<String>) -> anyhow::Result<Server> {
        self.start_with(configure, |_, _| Ok(()))
    }

    /// As [`Kind::start`]; `prepare` may add to the command.
    ///
    /// # Errors
    /// As [`Kind::start`], or `prepare` fails.
    pub fn start_with(
        self,
        configure: impl FnOnce(&Place<'_>) -> anyhow::Result<String>,
        prepare: impl FnOnce(&mut Command, &Folder) -> anyhow::Result<()>,
    ) -> anyhow::Result<Server> {
        let set = self.set()?;
        Server::start(self.name(), |folder, listen| {
            let modules = match (self, &set) {
                (Self::Nginx, Some(set)) => set.root().join("usr/lib/nginx/modules"),
                (_, Some(set)) => set.root().join("usr/lib/apache2/modules"),
                (_, None) => PathBuf::new(),
            };
            let text = configure(&Place {
                listen,
                folder,
                modules,
            })?;
            // Envoy goes by the ending.
            let ending = if self == Self::Envoy { "yaml" } else { "conf" };
            let file = folder.write(&format!("{}.{ending}", self.name()), text)?;
            let mut command = self.command(set.as_ref(), folder, &file)?;
            prepare(&mut command, folder)?;
            Ok(command)
        })
    }

    /// Debian's packages for it, with what a bare machine lacks of what they stand on.
    fn set(self) -> anyhow::Result<Option<Debian>> {
        let packages: &[&str] = match self {
            // The first one names the folder, and there is another folder `nginx`.
            Self::Nginx => &["libnginx-mod-http-js", "nginx"],
            Self::Haproxy => &["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
            Self::Apache => &["apache2-bin", "libapr1", "libaprutil1", "liblua5.3-0"],
            Self::Caddy => &["caddy"],
            Self::Envoy => return Ok(None),
        };
        debian(packages).map(Some)
    }

    fn command(self, set: Option<&Debian>, folder: &Folder, file: &Path) -> anyhow::Result<Command> {
        let of_debian = |program| set.context("no packages")?.command(program);
        let mut command = match self {
            Self::Nginx => of_debian("nginx")?,
            Self::Haproxy => of_debian("haproxy")?,
            Self::Apache => of_debian("apache2")?,
            Self::Caddy => of_debian("caddy")?,
            Self::Envoy => Command::new(python("servers", "envoy")?),
        };
        match self {
            Self::Nginx => command.arg("-p").arg(folder.path()).arg("-c").arg(file),
            Self::Haproxy => command.arg("-db").arg("-f").arg(file),
            Self::Apache => command.args(["-D", "FOREGROUND", "-f"]).arg(file),
            Self::Caddy => {
                // It keeps certificates and its last configuration below these.
                for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
                    command.env(variable, folder.path());
                }
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file)
            }
            // Without a restart in flight it needs no memory that it would share with another Envoy of the machine.
            Self::Envoy => command
                .args(["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c"])
                .arg(file),
        };
        Ok(command)
    }
}

impl Place<'_> {
    /// A configuration of nginx around what stands in its block `http`. It logs each request into `access.log` of its folder.
    #[must_use]
    pub fn nginx(&self, http: &str) -> String {
        let root = self.folder.path().display();
        let module = self.modules.join("ngx_http_js_module.so");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|what| format!(" {what}_temp_path {root}/{what};\n"))
            .collect();
        // Who is no root is told that `user` does nothing.
        format!(
            "load_module {};\nworker_processes 1;\ndaemon off;\nuser root;\npid {root}/nginx.pid;\nerror_log stderr notice;\n\
             events {{ worker_connections 1024; }}\nhttp {{\n access_log {root}/access.log;\n{temporary}{http}\n}}\n",
            module.display()
        )
    }

    /// A configuration of Apache with these modules (`alias`, `proxy_http`) besides what it cannot do without.
    ///
    /// # Errors
    /// The folder cannot be opened for Apache's workers.
    pub fn apache(&self, modules: &[&str], text: &str) -> anyhow::Result<String> {
        let root = self.folder.path();
        let load: String = ["mpm_event", "authz_core"]
            .iter()
            .chain(modules)
            .map(|name| format!("LoadModule {name}_module {}/mod_{name}.so\n", self.modules.display()))
            .collect();
        let mut user = "";
        if nix::unistd::geteuid().is_root() {
            // Apache refuses to serve as root; who it is then has to come through the folder.
            user = "User www-data\nGroup www-data\n";
            std::fs::set_permissions(root, PermissionsExt::from_mode(0o711))?;
        }
        Ok(format!(
            "{load}{user}ServerRoot {0}\nServerName localhost\nListen {1}\nPidFile {0}/apache.pid\nDefaultRuntimeDir {0}\n\
             ErrorLog /dev/stderr\nStartServers 1\nKeepAliveTimeout 75\n<Directory />\n  Require all granted\n</Directory>\n{text}",
            root.display(),
            self.listen
        ))
    }
}
