//! Debian's Chromium as people have it: it stays open, has tabs, keeps cookies, and reaches this machine alone. Driven by
//! `counterparts/browser/drive.mjs` over the DevTools protocol, as [`crate::chromium`] is: the package is there already, and a driver of
//! somebody else's would bring a browser of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::chromium::{order, script};
use crate::counterparts::target;

/// A program of node's that takes orders and says one line first, or answers. It ends with its input, however this process ends.
#[derive(Debug)]
struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(name: &str, argument: &str) -> anyhow::Result<Self> {
        let mut command = Command::new("node");
        command.arg(script(name)).arg(argument);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("its output")?;
        Ok(Self {
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
        })
    }

    fn line(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("it ended, or says {line:?}"))
    }

    fn ask(&mut self, order: &Value) -> anyhow::Result<Value> {
        let input = self.input.as_mut().context("its input")?;
        writeln!(input, "{order}")?;
        self.line()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.input.take()); // the lifeline
        let _ = self.child.wait();
    }
}

/// A running browser, in which several people may work who share nothing.
#[derive(Debug)]
pub struct Chromium {
    driver: Mutex<Script>,
    // Dropped last: the browser writes into it.
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn start() -> anyhow::Result<Self> {
        let profile = tempfile::TempDir::with_prefix("gatescribe-browser-")?;
        let driver = Script::start("drive.mjs", &order(profile.path())?.to_string())?;
        Ok(Self {
            driver: Mutex::new(driver),
            _profile: profile,
        })
    }

    /// A new tab of somebody's.
    ///
    /// # Errors
    /// The browser ended.
    pub fn tab(&self, who: &str) -> anyhow::Result<Tab<'_>> {
        let number = self.ask(&json!({"do": "open", "who": who}))?;
        Ok(Tab {
            browser: self,
            number: number.as_u64().context("a number")?,
        })
    }

    /// The cookies that are kept for somebody, each with `name`, `domain`, `value`, `httpOnly` and `sameSite`.
    ///
    /// # Errors
    /// The browser ended.
    pub fn cookies(&self, who: &str) -> anyhow::Result<Vec<Value>> {
        Ok(serde_json::from_value(
            self.ask(&json!({"do": "cookies", "who": who}))?,
        )?)
    }

    fn ask(&self, order: &Value) -> anyhow::Result<Value> {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = driver.ask(order).with_context(|| order.to_string())?;
        match answer["failed"].as_str() {
            Some(why) => bail!("{order}: {why}"),
            None => Ok(answer["told"].take()),
        }
    }
}

/// One of its tabs.
#[derive(Debug)]
pub struct Tab<'b> {
    browser: &'b Chromium,
    number: u64,
}

impl Tab<'_> {
    fn ask(&self, mut order: Value) -> anyhow::Result<Value> {
        order["tab"] = json!(self.number);
        self.browser.ask(&order)
    }

    /// Opens an address as if it was typed, and waits for what stands at its end.
    ///
    /// # Errors
    /// Nothing does: the browser's word for it.
    pub fn go(&self, url: &str) -> anyhow::Result<()> {
        match self.ask(json!({"do": "go", "url": url}))?.as_str() {
            None => Ok(()),
            Some(why) => bail!("{url}: {why}"),
        }
    }

    /// Clicks on the first thing that a selector finds, as soon as it is there.
    ///
    /// # Errors
    /// It never is.
    pub fn click(&self, on: &str) -> anyhow::Result<()> {
        self.ask(json!({"do": "click", "on": on})).map(drop)
    }

    /// Waits until an expression is true in the page, and says its value. Pages may come and go meanwhile.
    ///
    /// # Errors
    /// It never is; where the tab is and what stands there is in the error.
    pub fn until(&self, that: &str) -> anyhow::Result<Value> {
        self.ask(json!({"do": "until", "that": that}))
    }

    /// Waits until the tab is at this very address.
    ///
    /// # Errors
    /// It never is.
    pub fn is_at(&self, url: &str) -> anyhow::Result<()> {
        let that = format!("location.href === {} && document.readyState === 'complete'", json!(url));
        self.until(&that).map(drop)
    }

    /// Waits until these words stand in the page, and says all that does.
    ///
    /// # Errors
    /// They never do.
    pub fn says(&self, words: &str) -> anyhow::Result<String> {
        let that = format!(
            "document.body.innerText.includes({0}) && document.body.innerText",
            json!(words)
        );
        let text = self.until(&that)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// The addresses of pages since this was last asked, with every redirect.
    ///
    /// # Errors
    /// The browser ended.
    pub fn visited(&self) -> anyhow::Result<Vec<String>> {
        Ok(serde_json::from_value(self.ask(json!({"do": "visited"}))?)?)
    }

    /// What the pages of the tab broke since this was last asked: their own policy, or that of what they put into a frame.
    ///
    /// # Errors
    /// The browser ended.
    pub fn complaints(&self) -> anyhow::Result<Vec<String>> {
        Ok(serde_json::from_value(self.ask(json!({"do": "complaints"}))?)?)
    }

    /// Takes pictures below `target/screenshots/`, on a desk and on a phone, by day and by night, and looks for what people would stumble over.
    ///
    /// # Errors
    /// They would, or the page broke its own rules.
    pub fn looks_well(&self, story: &str, name: &str) -> anyhow::Result<()> {
        let told = self.pictured(story, name)?;
        for page in told.as_array().context("pages")? {
            ensure!(page["faults"] == json!([]), "{name}: {page:#}");
        }
        let complaints = self.complaints()?;
        ensure!(complaints.is_empty(), "{name}: {complaints:#?}");
        Ok(())
    }

    /// The same pictures of somebody else's page, and what was found there, which is not ours to mend.
    ///
    /// # Errors
    /// The browser ended, or the folder cannot be made.
    pub fn pictured(&self, story: &str, name: &str) -> anyhow::Result<Value> {
        self.ask(json!({"do": "picture", "file": pictures(story)?.join(name)}))
    }
}

fn pictures(story: &str) -> anyhow::Result<PathBuf> {
    let folder = target().join("screenshots").join(story);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// A site that stands behind a gateway: pages that say who looks at them, WebSockets, and frames. See `counterparts/browser/site.mjs`.
#[derive(Debug)]
pub struct Site {
    _script: Script,
    /// Where it listens, without a slash at the end.
    pub url: String,
}

impl Site {
    /// Starts it. The name stands on its pages.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(name: &str) -> anyhow::Result<Self> {
        let mut script = Script::start("site.mjs", name)?;
        let url = script.line()?["url"].as_str().context("its address")?.to_owned();
        Ok(Self { _script: script, url })
    }

    /// What came through a gateway so far: `target`, `host`, `email` and `id` of each request.
    ///
    /// # Errors
    /// It does not say.
    pub fn seen(&self) -> anyhow::Result<Vec<Value>> {
        let page = crate::browser::Browser::default().request("GET", &format!("{}/seen", self.url), "")?;
        serde_json::from_str(&page.body).context(page.body)
    }
}
