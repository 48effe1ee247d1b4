//! The gateway itself as a process, in front of a [`Cluster`], with a certified OpenID provider beside it.
//!
//! It runs on exactly the accounts and rights that `deploy/kubernetes/` ships. A person signs in as people do, by browser.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::browser::{Browser, Page};
use crate::cluster::Cluster;
use crate::kubectl::{Credential, Kubectl, kubeconfig};
use crate::pki::Ca;
use crate::ports::Port;
use crate::process::{Folder, Process};
use crate::wait::{PATIENCE, try_until};
use crate::{counterparts, http};

const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
/// What the certificates of its Kubernetes listener are good for. Nobody resolves the last two: who uses them connects by
/// address or through a proxy.
const NAMES: [&str; 4] = ["127.0.0.1", "localhost", "gate.example", "*.gate.example"];
/// BASE64URL(SHA-256(VERIFIER)).
const CHALLENGE: &str = "fD3GLJ_KzCDB0w6uDOSFNNdflrHwtv8Cizh6P5pJkfQ";
/// Where a command line would listen for its code; nobody does here, the address is read instead.
const LOOPBACK: &str = "http://127.0.0.1:9/callback";

/// `oidc-provider` as a program. The end of its input ends it, so it ends with this process, however that ends.
#[derive(Debug)]
pub struct Provider {
    child: Child,
    /// Its issuer URL.
    pub issuer: String,
    /// Where it takes orders.
    pub control: String,
    /// The gateway's client secret.
    pub secret: String,
}

impl Provider {
    /// Starts it for a gateway at `url`.
    ///
    /// # Errors
    /// node or its packages are missing.
    pub fn start(url: &str) -> anyhow::Result<Self> {
        let folder = counterparts::repository().join("tests/counterparts/provider");
        ensure!(
            folder.join("node_modules").is_dir(),
            "no node_modules in tests/counterparts/provider: run `cargo xtask counterparts`"
        );
        let options = json!({
            // With other providers beside it the gateway has an address for each.
            "redirectUris": [format!("{url}/callback"), format!("{url}/callback/corp")],
            "logoutUri": format!("{url}/backchannel-logout"),
            "postLogoutUris": [format!("{url}/signed-out")],
        });
        let mut command = Command::new("node");
        command.arg("server.mjs").arg(options.to_string()).current_dir(folder);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start node")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the provider's output")?).read_line(&mut line)?;
        let ready: Value =
            serde_json::from_str(&line).with_context(|| format!("the provider did not start: {line:?}"))?;
        let text = |name: &str| {
            ready[name]
                .as_str()
                .map(str::to_owned)
                .context("the provider's first line")
        };
        Ok(Self {
            issuer: text("issuer")?,
            control: text("control")?,
            secret: text("clientSecret")?,
            child,
        })
    }
}

impl Provider {
    /// Ends it, as an outage does.
    ///
    /// # Errors
    /// It had ended already.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Provider {
    /// An ID token for the client `kubernetes`, as kubelogin or a CI job holds it: by the device flow, without the gateway.
    ///
    /// # Errors
    /// A step is refused.
    pub fn raw_token(&self, person: &str) -> anyhow::Result<String> {
        let scope = "client_id=kubernetes&scope=openid+email+groups";
        let asked = post(&format!("{}/device/auth", self.issuer), scope)?;
        let text = |value: &Value, name: &str| {
            let found = value[name].as_str().map(str::to_owned);
            found.with_context(|| format!("`{name}` in {value}"))
        };
        let approved = self.control(
            "/device",
            &json!({ "userCode": text(&asked, "user_code")?, "login": person }),
        )?;
        ensure!(approved["approved"] == true, "{approved}");
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=kubernetes&device_code={}",
            text(&asked, "device_code")?
        );
        text(&post(&format!("{}/token", self.issuer), &form)?, "id_token")
    }

    /// Gives it an order; `control.mjs` lists them.
    ///
    /// # Errors
    /// It refuses.
    pub fn control(&self, path: &str, order: &Value) -> anyhow::Result<Value> {
        post(&format!("{}{path}", self.control), &order.to_string())
    }
}

fn post(url: &str, body: &str) -> anyhow::Result<Value> {
    let page = Browser::default().request("POST", url, body)?;
    ensure!(page.status < 300, "{url} answers {}: {}", page.status, page.body);
    Ok(serde_json::from_str(&page.body)?)
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What may differ from the usual gateway of the tests.
#[derive(Debug, Default)]
pub struct Options {
    /// Instead of `confirm`.
    pub authorization: Option<&'static str>,
    /// A file of access rules.
    pub rules: Option<String>,
    /// Members to merge into the configuration, at any depth.
    pub more: Option<Value>,
    /// A program with arguments that runs the gateway, given behind them: a tracer, a profiler.
    pub under: Option<Command>,
    /// Members to merge into the configuration's `identity`.
    pub identity: Option<Value>,
    /// Providers besides the certified one, as the configuration has them.
    pub providers: Vec<Value>,
    /// All providers may give the same names (`identity.dangerSharedNames`).
    pub shared_names: bool,
    /// The gateway host speaks TLS with a certificate of its own, as outside a bench.
    pub secure_host: bool,
    /// The address of the Kubernetes listener instead of the loopback's.
    pub address: Option<IpAddr>,
}

impl Options {
    /// The usual gateway with these access rules.
    #[must_use]
    pub fn ruled(rules: impl Into<String>) -> Self {
        Self {
            rules: Some(rules.into()),
            ..Self::default()
        }
    }
}

/// What the gateway stands in front of, as its configuration says it.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The URL of the API server.
    pub server: String,
    /// Its authority, PEM; none for plain HTTP on loopback.
    pub ca: Option<String>,
    /// The impersonator's token.
    pub impersonator: String,
    /// The observer's token.
    pub observer: String,
}

/// A running gateway. Its folder outlives the process, so that it can be killed and started again; it goes with this value.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    /// The provider.
    pub provider: Provider,
    /// The gateway host.
    pub url: String,
    /// The Kubernetes listener.
    pub address: SocketAddr,
    admin: SocketAddr,
    ca: Ca,
    command: Command,
    // Dropped last: the process writes into it.
    folder: Folder,
    _ports: [Port; 3],
}

/// What a sign-in gives.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The token for the cluster.
    pub token: String,
    /// The handle with which the next one is had.
    pub handle: String,
}

impl Gateway {
    /// Starts a gateway in front of `cluster`, on the shipped rights, and waits until it is ready.
    ///
    /// # Errors
    /// A part does not start.
    pub fn start(cluster: &Cluster, options: &Options) -> anyhow::Result<Self> {
        cluster.apply_gateway_rights()?;
        let upstream = Upstream {
            server: cluster.url(),
            ca: Some(cluster.ca().certificate().to_owned()),
            impersonator: cluster.service_account_token("gatescribe", "impersonator")?,
            observer: cluster.service_account_token("gatescribe", "observer")?,
        };
        Self::before(&upstream, options)
    }

    /// Starts a gateway in front of anything that speaks as an API server does, and waits until it is ready.
    ///
    /// # Errors
    /// A part does not start.
    pub fn before(upstream: &Upstream, options: &Options) -> anyhow::Result<Self> {
        let folder = Folder::held("gateway")?;
        let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let [host, mut address, admin] = ports.each_ref().map(Port::address);
        if let Some(of_its_own) = options.address {
            address.set_ip(of_its_own);
        }
        let url = format!("{}://{host}", if options.secure_host { "https" } else { "http" });
        let provider = Provider::start(&url)?;
        let ca = Ca::new("gateway")?;
        let own_address = address.ip().to_string();
        let certificate = ca.server(&[&NAMES[..], &[own_address.as_str()]].concat())?;
        let write = |name: &str, text: &str| folder.write(name, text).map(|path| path.display().to_string());
        let listener = json!({
            "certFile": write("tls.crt", &certificate.certificate)?,
            "keyFile": write("tls.key", &certificate.key)?,
            "caFile": write("ca.crt", ca.certificate())?,
        });
        let mut configured = json!({
            "apiVersion": "gatescribe.dev/v1",
            "url": url,
            "dataDir": folder.path().join("data"),
            "listeners": [
                { "name": "gateway", "address": host.to_string(), "serves": ["gateway", "services"] },
                { "name": "kubernetes", "address": address.to_string(), "serves": ["kubernetes"], "tls": listener },
            ],
            "admin": { "address": admin.to_string() },
            "identity": { "auditGroups": ["auditor"], "providers": [{
                "name": "corp", "issuer": provider.issuer, "clientId": "gatescribe",
                "clientSecret": format!("${{file:{}}}", write("client-secret", &provider.secret)?),
                "claims": { "user": "email", "groups": "groups" },
            }] },
            "clusters": [{
                "name": "bench", "servers": [upstream.server],
                "impersonator": { "tokenFile": write("impersonator", &upstream.impersonator)? },
                "observer": { "tokenFile": write("observer", &upstream.observer)? },
                "authorization": options.authorization.unwrap_or("confirm"),
            }],
        });
        if options.secure_host {
            let own = ca.server(&NAMES)?;
            configured["listeners"][0]["tls"] = json!({
                "certFile": write("host.crt", &own.certificate)?, "keyFile": write("host.key", &own.key)?,
            });
        }
        if let Some(ca) = &upstream.ca {
            configured["clusters"][0]["caFile"] = json!(write("cluster-ca.crt", ca)?);
        }
        if let Some(rules) = &options.rules {
            configured["policy"] = json!({ "rules": [write("rules.yaml", rules)?] });
        }
        if let Some(identity) = options.identity.clone() {
            merge(&mut configured, json!({ "identity": identity }));
        }
        if let Some(providers) = configured["identity"]["providers"].as_array_mut() {
            providers.extend(options.providers.iter().cloned());
        }
        if options.shared_names {
            let providers = configured["identity"]["providers"].as_array();
            let issuers: Vec<Value> = providers
                .into_iter()
                .flatten()
                .map(|one| one["issuer"].clone())
                .collect();
            configured["identity"]["dangerSharedNames"] = json!(issuers);
        }
        if let Some(more) = options.more.clone() {
            merge(&mut configured, more);
        }
        // JSON is YAML.
        let config = folder.write("gatescribe.yaml", configured.to_string())?;
        let command = command(&config, options.under.as_ref())?;
        let process = Process::start("gatescribe", &command, &folder)?;
        let mut gateway = Self {
            process,
            provider,
            url,
            address,
            admin,
            ca,
            command,
            folder,
            _ports: ports,
        };
        gateway.ready()?;
        Ok(gateway)
    }

    /// Waits until the gateway says that it is ready, with every cluster.
    ///
    /// # Errors
    /// It does not, or its process ends before; its log's end is in the error.
    pub fn ready(&mut self) -> anyhow::Result<()> {
        let readyz = format!("http://{}/readyz", self.admin);
        let mut ended = None;
        let asked = try_until("the gateway is ready", PATIENCE, || {
            ended = self.process.ended()?;
            if ended.is_some() {
                return Ok(());
            }
            let page = Browser::default().request("GET", &readyz, "")?;
            ensure!(page.status == 200 && !page.body.contains("[-]"), "{}", page.body);
            Ok(())
        });
        if let Some(status) = ended {
            bail!("the gateway ended ({status}):\n{}", self.process.log_end(30));
        }
        asked.with_context(|| self.process.log_end(30))
    }

    /// Signs a person in by browser, as `gatescribe login` would, and takes a token for the cluster.
    ///
    /// # Errors
    /// A step does not lead on; the page is in the error.
    pub fn sign_in(&self, person: &str) -> anyhow::Result<SignedIn> {
        let page = self.visit("corp", person)?;
        let location = page
            .location
            .with_context(|| format!("the sign-in ends at {} with {}:\n{}", page.url, page.status, page.body))?;
        self.finish_login(&location, LOOPBACK)
    }

    /// The address that `gatescribe login` opens in a person's browser, which ends at `loopback` with a code.
    #[must_use]
    pub fn login_at(&self, loopback: &str) -> String {
        format!(
            "{}/authorize?response_type=code&client_id=gatescribe-cli&redirect_uri={loopback}&state=s&code_challenge={CHALLENGE}&code_challenge_method=S256&provider=corp",
            self.url
        )
    }

    /// What the command line takes for the address at which that browser has ended.
    ///
    /// # Errors
    /// There is no code, or it is refused.
    pub fn finish_login(&self, location: &str, loopback: &str) -> anyhow::Result<SignedIn> {
        let code = location
            .split(['?', '&'])
            .find_map(|pair| pair.strip_prefix("code="))
            .with_context(|| format!("a code in {location}"))?;
        self.token(&format!("grant_type=authorization_code&client_id=gatescribe-cli&code={code}&code_verifier={VERIFIER}&redirect_uri={loopback}&audience=bench"))
    }

    /// What a browser ends at when a person signs in at one of the providers: the command line's address with a code, or
    /// a page that says why not.
    ///
    /// # Errors
    /// A step gives no answer.
    pub fn visit(&self, provider: &str, person: &str) -> anyhow::Result<Page> {
        let query = format!(
            "response_type=code&client_id=gatescribe-cli&redirect_uri={LOOPBACK}&state=s&code_challenge={CHALLENGE}&code_challenge_method=S256&login_hint={person}&provider={provider}"
        );
        self.browser()
            .open(&format!("{}/authorize?{query}", self.url), LOOPBACK)
    }

    /// Takes the next token for `audience` by the rotating handle.
    ///
    /// # Errors
    /// It is refused.
    pub fn renew(&self, handle: &str, audience: &str) -> anyhow::Result<SignedIn> {
        self.token(&format!(
            "grant_type=refresh_token&client_id=gatescribe-cli&refresh_token={handle}&audience={audience}"
        ))
    }

    /// Signs out: ends the session of this handle.
    ///
    /// # Errors
    /// It is refused.
    pub fn revoke(&self, handle: &str) -> anyhow::Result<()> {
        let form = format!("token={handle}&client_id=gatescribe-cli");
        let page = self.browser().request("POST", &format!("{}/revoke", self.url), &form)?;
        ensure!(page.status == 200, "/revoke answers {}: {}", page.status, page.body);
        Ok(())
    }

    fn token(&self, form: &str) -> anyhow::Result<SignedIn> {
        let page = self.browser().request("POST", &format!("{}/token", self.url), form)?;
        ensure!(page.status == 200, "/token answers {}: {}", page.status, page.body);
        let answer: Value = serde_json::from_str(&page.body)?;
        let text = |name: &str| {
            answer[name]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("`{name}` in {answer}"))
        };
        let handle = text("refresh_token")?;
        match answer["access_token"].as_str() {
            Some(token) => Ok(SignedIn {
                token: token.to_owned(),
                handle,
            }),
            None => self.renew(&handle, "bench"),
        }
    }

    /// kubectl through the gateway of a person who signs in now, by browser.
    ///
    /// # Errors
    /// The sign-in fails.
    pub fn kubectl_of(&self, person: &str) -> anyhow::Result<Kubectl> {
        self.kubectl(person, &self.sign_in(person)?.token)
    }

    /// kubectl through the gateway with a token.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn kubectl(&self, name: &str, token: &str) -> anyhow::Result<Kubectl> {
        self.kubectl_with(name, &Credential::Token(token))
    }

    /// kubectl through the gateway with any credential.
    ///
    /// # Errors
    /// The kubeconfig cannot be written.
    pub fn kubectl_with(&self, name: &str, credential: &Credential<'_>) -> anyhow::Result<Kubectl> {
        let text = kubeconfig(&self.server(), self.ca.certificate(), credential);
        let path = self.folder.write(&format!("{name}.kubeconfig"), text)?;
        let home = self.folder.path().join(format!("home-{name}"));
        std::fs::create_dir_all(&home)?;
        Ok(Kubectl::new(&path, &home))
    }

    /// The cluster's URL at the gateway.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://{}/clusters/bench", self.address)
    }

    /// Raw HTTPS to the Kubernetes listener.
    ///
    /// # Errors
    /// The CA is unusable.
    pub fn client(&self) -> anyhow::Result<http::Client> {
        http::Client::new(self.address, self.ca.certificate(), None)
    }

    /// A new browser of somebody who trusts its authority.
    #[must_use]
    pub fn browser(&self) -> Browser {
        Browser::trusting(self.ca())
    }

    /// The authority of its certificate, PEM.
    #[must_use]
    pub fn ca(&self) -> &str {
        self.ca.certificate()
    }

    /// The folder with all that the gateway writes: data, logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The ledger's folder.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.folder.path().join("data/ledger")
    }

    /// Everything in the ledger that is durable, oldest first.
    ///
    /// # Errors
    /// The ledger is damaged, or a leaf is no JSON.
    pub fn records(&self) -> anyhow::Result<Vec<Value>> {
        let reader = ledger::Reader::open(&self.ledger())?;
        let mut records = Vec::new();
        for record in reader.records_from(0) {
            records.push(serde_json::from_slice(&record?.leaf)?);
        }
        Ok(records)
    }

    /// The records, once they satisfy `enough`: refusals and ends are not waited for by the calls that cause them.
    ///
    /// # Errors
    /// They do not.
    pub fn records_with(&self, what: &str, enough: impl Fn(&[Value]) -> bool) -> anyhow::Result<Vec<Value>> {
        let look = || {
            let records = self.records()?;
            ensure!(enough(&records), "not yet: {} records", records.len());
            Ok(records)
        };
        try_until(what, PATIENCE, look)
    }

    /// A file of its folder, such as `gatescribe.yaml` or `tls.crt`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Another certificate for the same listener, of the same authority.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn next_certificate(&self) -> anyhow::Result<crate::pki::Identity> {
        self.ca.server(&NAMES)
    }

    /// What the gateway has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gatescribe.yaml")
    }

    /// The process, to be signalled.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// The admin listener.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The public key of its ledger, as it says it at its start.
    ///
    /// # Errors
    /// It has not said it.
    pub fn public_key(&self) -> anyhow::Result<String> {
        let log = self.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let said = lines.find(|line| {
            line["message"]
                .as_str()
                .is_some_and(|message| message.starts_with("the ledger is signed"))
        });
        let key = said.as_ref().and_then(|line| line["key"].as_str());
        key.map(str::to_owned)
            .with_context(|| format!("the log names the ledger's key:\n{log}"))
    }

    /// Stops it in order and waits until it has ended.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        self.wait()
    }

    /// Waits until the process has ended, which somebody must have caused.
    ///
    /// # Errors
    /// It did not end.
    pub fn wait(&mut self) -> anyhow::Result<()> {
        self.process.wait().map(drop)
    }

    /// Waits until the process has ended, which somebody must have caused, and starts it again on the same folder.
    ///
    /// # Errors
    /// It did not end, or does not become ready.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.process.wait()?;
        self.process = Process::start("gatescribe", &self.command, &self.folder)?;
        self.ready()
    }
}

fn command(config: &Path, under: Option<&Command>) -> anyhow::Result<Command> {
    let gateway = counterparts::own_binary("gatescribe")?;
    let mut command = match under {
        None => Command::new(gateway),
        Some(under) => {
            let mut command = Command::new(under.get_program());
            command.args(under.get_args()).arg(gateway);
            for (name, value) in under.get_envs() {
                command.env(name, value.unwrap_or_default());
            }
            command
        }
    };
    command.arg("serve").arg("--config").arg(config);
    Ok(command)
}

/// Objects are merged by name and lists by place, anything else is replaced.
fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Array(into), Value::Array(more)) => {
            for (place, value) in more.into_iter().enumerate() {
                match into.get_mut(place) {
                    Some(known) => merge(known, value),
                    None => into.push(value),
                }
            }
        }
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
