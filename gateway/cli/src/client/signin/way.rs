//! Which way a person signs in here: whether there is a browser to open, by what the environment says.

use std::path::Path;

/// The way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// With a browser on this machine; `open` or only its address printed.
    Browser {
        /// Whether we open it.
        open: bool,
    },
    /// With a code that is typed in a browser elsewhere.
    Device,
}

/// What is around the process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    ssh: bool,
    display: bool,
    browser: Option<String>,
    no_browser: bool,
    terminal: bool,
}

/// Browsers that run inside the terminal and write to our standard output, which belongs to kubectl.
const TEXT_BROWSERS: [&str; 7] = ["lynx", "links", "links2", "elinks", "w3m", "www-browser", "browsh"];

impl Surroundings {
    /// As they are.
    pub(crate) fn look() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let graphical = cfg!(any(target_os = "macos", windows)) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
        Self {
            ssh: is_set("SSH_CONNECTION") || is_set("SSH_TTY"),
            display: graphical || is_set("WSL_DISTRO_NAME"),
            browser: std::env::var("BROWSER").ok().filter(|value| !value.trim().is_empty()),
            no_browser: is_set("GATESCRIBE_NO_BROWSER"),
            terminal: crate::terminal::is_attended(),
        }
    }

    /// For `login`: the person is there and asked for it.
    pub(crate) const fn for_login(&self, device: bool, no_browser: bool) -> Way {
        if device {
            return Way::Device;
        }
        if no_browser || self.no_browser {
            return Way::Browser { open: false };
        }
        if self.has_browser() {
            Way::Browser { open: true }
        } else {
            Way::Device
        }
    }

    /// For the exec plugin: `None` where nobody can be asked. Its standard output belongs to kubectl.
    pub(crate) fn for_plugin(&self, interactive: bool) -> Option<Way> {
        if !interactive || (self.no_browser && !self.terminal) {
            return None;
        }
        let takes_stdout = self.browser.as_deref().is_some_and(is_text_browser);
        let open = self.has_browser() && !self.no_browser && !takes_stdout;
        Some(if open { Way::Browser { open } } else { Way::Device })
    }

    /// `BROWSER` is a person's own word that one can be opened here, also where an editor brings it to the near end of an
    /// SSH connection. Without it, a browser on the far end is of no use.
    pub(crate) const fn has_browser(&self) -> bool {
        self.browser.is_some() || (self.display && !self.ssh)
    }
}

fn is_text_browser(command: &str) -> bool {
    let first = command.split(':').next().unwrap_or_default();
    let program = first.split_ascii_whitespace().next().unwrap_or_default();
    let name = Path::new(program)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    TEXT_BROWSERS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desktop() -> Surroundings {
        Surroundings {
            display: true,
            terminal: true,
            ..Surroundings::default()
        }
    }

    #[test]
    fn a_desktop_opens_a_browser_and_a_server_shows_a_code() {
        assert_eq!(desktop().for_login(false, false), Way::Browser { open: true });
        assert_eq!(desktop().for_login(false, true), Way::Browser { open: false });
        assert_eq!(desktop().for_login(true, false), Way::Device);
        let server = Surroundings {
            display: false,
            ..desktop()
        };
        assert_eq!(server.for_login(false, false), Way::Device);
        let remote = Surroundings { ssh: true, ..desktop() };
        assert_eq!(remote.for_login(false, false), Way::Device);
        let editor = Surroundings {
            browser: Some("/opt/helper".to_owned()),
            ..remote
        };
        assert_eq!(editor.for_login(false, false), Way::Browser { open: true });
    }

    #[test]
    fn the_plugin_asks_nobody_where_nobody_is() {
        assert_eq!(desktop().for_plugin(false), None);
        assert_eq!(desktop().for_plugin(true), Some(Way::Browser { open: true }));
        let quiet = Surroundings {
            no_browser: true,
            ..desktop()
        };
        assert_eq!(quiet.for_plugin(true), Some(Way::Device));
        let background = Surroundings {
            terminal: false,
            ..quiet
        };
        assert_eq!(background.for_plugin(true), None);
    }

    #[test]
    fn a_browser_that_writes_to_stdout_is_not_opened_under_kubectl() {
        let text = Surroundings {
            browser: Some("/usr/bin/w3m -o x:firefox".to_owned()),
            ..desktop()
        };
        assert_eq!(text.for_plugin(true), Some(Way::Device));
        assert_eq!(text.for_login(false, false), Way::Browser { open: true });
    }
}
