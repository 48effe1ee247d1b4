//! The client side: signing in, what kubectl asks for, and questions to the gateway.
//!
//! Data goes to stdout, words to stderr; a command that cannot do its work says what, because of what, and what to do,
//! and ends with the documented code. What a command knows of a person lies in one private file for each gateway
//! ([`store`]); the runtime starts only where something has to be asked.

mod about;
mod api;
mod ask;
mod audit;
mod credential;
pub(crate) mod document;
pub(crate) mod erasures;
pub(crate) mod evidence;
mod gateway;
pub(crate) mod home;
pub(crate) mod http;
mod kubeconfig;
mod lines;
mod login;
mod logout;
mod new_file;
mod reason;
mod resources;
pub(crate) mod served;
mod services;
mod session;
mod sessions;
mod signals;
pub(crate) mod signin;
mod spool;
pub(crate) mod store;
mod table;
pub(crate) mod trouble;
mod users;
mod whoami;

pub use audit::arranged;
pub use evidence::fuzz_evidence_file;
pub use sessions::fuzz_played;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::Exit;
use crate::client::trouble::Trouble;

/// Signing in and asking.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Sign in at a gateway and put its clusters into the kubeconfig.
    #[command(
        after_help = "Examples:\n  gatescribe login https://gate.example.com\n  gatescribe login gate.example.com \
        --device --ca-sha256 5E:0C:…\n\nThe kubeconfig gets an entry per cluster that runs `gatescribe kube credential`, and \
        no secret. `kubectl --token` bypasses it.\n\nExit codes: 0 signed in, 3 not signed in, 6 the kubeconfig has such \
        names already, 7 the gateway cannot be reached or its certificate is not trusted\nSee also: gatescribe whoami, \
        gatescribe logout"
    )]
    Login(login::LoginArguments),
    /// Sign out: the session ends at the gateway, its secrets are removed here. Contexts stay.
    #[command(
        after_help = "Examples:\n  gatescribe logout\n  gatescribe logout --all\n\nExit codes: 0 signed out, 7 signed \
        out here but the gateway could not be told, 10 some of several could not be told\nSee also: gatescribe login"
    )]
    Logout {
        /// At every gateway.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Who the gateway takes me for.
    #[command(
        after_help = "Examples:\n  gatescribe whoami\n  gatescribe whoami --claims -o json\n\nExit codes: 0 told, 3 not \
        signed in, 7 the gateway cannot be reached\nSee also: gatescribe idp test, gatescribe can"
    )]
    Whoami {
        /// Show what the provider said, too.
        #[arg(long)]
        claims: bool,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Look at the identity provider from the outside.
    #[command(subcommand)]
    Idp(IdpCommand),
    /// May I do this?
    #[command(
        after_help = "Examples:\n  gatescribe can delete pods -n payments\n  gatescribe can get secrets/db -n payments \
        --cluster prod\n  gatescribe can GET https://grafana.example.com/d/7\n\nExit codes: 0 yes, 1 no, 3 not signed in\nSee also: gatescribe \
        why, gatescribe whoami"
    )]
    Can(ask::CanArguments),
    /// Why was this allowed or refused?
    #[command(
        after_help = "Examples:\n  gatescribe why\n  gatescribe why 0192f0c1-7c3e-7d00-a000-0000000007f3\n\nExit codes: \
        0 told, 3 not signed in, 5 no such decision of yours\nSee also: gatescribe can, gatescribe audit show"
    )]
    Why {
        /// The id that a refusal names, or `last`: your last call that was refused.
        #[arg(default_value = "last")]
        id: String,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
    /// Make one call to a cluster through the gateway, as myself.
    #[command(
        after_help = "Examples:\n  gatescribe api GET /api/v1/namespaces/default/pods\n  gatescribe api POST \
        /api/v1/namespaces/default/configmaps -d @cm.json --cluster prod\n\nThe answer's body goes to stdout whatever its \
        status.\n\nExit codes: 0 answered, 3 not signed in, 4 not permitted, 5 not found, 6 conflict, 7 not reached, 9 a \
        fault there\nSee also: gatescribe can, kubectl get --raw"
    )]
    Api(api::ApiArguments),
    /// State why I do what comes next, for rules that demand it.
    #[command(
        after_help = "Examples:\n  gatescribe reason 'TICKET-4711: web does not start' --for 30m\n  gatescribe reason\n  gatescribe \
        reason --clear\n\nIt is bound to the sign-in and stands in each record of what it is used for meanwhile.\n\nExit codes: 0 \
        stated, shown or taken back, 2 no reason, 3 not signed in, 7 the gateway cannot be reached\nSee also: gatescribe exec, \
        gatescribe whoami"
    )]
    Reason(reason::ReasonArguments),
    /// kubectl exec with a reason for this one session.
    #[command(
        after_help = "Examples:\n  gatescribe exec --reason 'TICKET-4711: look at the disk' -it web-0 -n shop -- sh\n  gatescribe \
        exec --reason TICKET-4711 deploy/web -n shop -- env\n\nIt runs kubectl \
        exec with --as and --as-user-extra=gatescribe.dev/reason=TEXT.\n\nExit codes: those of kubectl exec; 3 not signed in, 9 kubectl \
        cannot be run\nSee also: gatescribe reason"
    )]
    Exec(reason::ExecArguments),
    /// Search, follow and show what was recorded.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Pack records with their proofs for an auditor, and verify such a file.
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// List, play, watch and end sessions in pods.
    #[command(subcommand)]
    Session(sessions::SessionCommand),
    /// List, show and test published services.
    #[command(subcommand)]
    Svc(services::ServiceCommand),
    /// Lock users out and let them in again.
    #[command(subcommand)]
    User(users::UserCommand),
    /// Hold what must not be erased.
    #[command(subcommand)]
    Hold(erasures::HoldCommand),
    /// What kubectl calls.
    #[command(subcommand, hide = true)]
    Kube(KubeCommand),
    /// Print the completions of a shell.
    #[command(
        after_help = "Examples:\n  gatescribe completion bash > /etc/bash_completion.d/gatescribe\n  source <(gatescribe \
        completion zsh)\n\nExit codes: 0 printed\nSee also: gatescribe help"
    )]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the version.
    #[command(
        after_help = "Examples:\n  gatescribe version\n  gatescribe version -o json\n\nExit codes: 0 printed\nSee also: \
        gatescribe whoami"
    )]
    Version {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// The provider, seen from here.
#[derive(Debug, Subcommand)]
pub(crate) enum IdpCommand {
    /// Sign in anew and show what arrived: claims, the mapping used, groups kept and dropped.
    #[command(
        after_help = "Examples:\n  gatescribe idp test\n  gatescribe idp test --provider corp -o json\n  gatescribe idp test \
        --config gw.yaml\n  gatescribe idp test --config gw.yaml --provider corp --token id-token.txt\n\nThe new session \
        takes the place of the one before. With --config nobody signs in: every issuer of the file is asked for its \
        description and keys as the gateway would, and a token from a file is judged.\n\nExit codes: 0 signed in, or every \
        issuer is as it should be; 1 an issuer or the token is not; 3 not signed in; 7 the gateway or an issuer cannot be \
        reached\nSee also: gatescribe whoami --claims"
    )]
    Test {
        /// Ask the issuers of this configuration, without a gateway.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["device", "no_browser", "output"])]
        config: Option<PathBuf>,
        /// Judge the token in this file.
        #[arg(long, value_name = "FILE", requires = "config")]
        token: Option<PathBuf>,
        /// Which provider.
        #[arg(long)]
        provider: Option<String>,
        /// Sign in with a code.
        #[arg(long)]
        device: bool,
        /// Print the address, open nothing.
        #[arg(long)]
        no_browser: bool,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        gateway: GatewayArgument,
    },
}

/// For kubectl.
#[derive(Debug, Subcommand)]
pub(crate) enum KubeCommand {
    /// The exec credential plugin (client.authentication.k8s.io v1 and v1beta1).
    #[command(
        after_help = "Examples:\n  kubectl get pods\n  GATESCRIBE_NO_BROWSER=1 kubectl get pods\n\nExit codes: 0 a \
        credential is on stdout, 3 sign in first, 4 not for this server, 7 the gateway cannot be reached\nSee also: \
        gatescribe login"
    )]
    Credential {
        /// The gateway's address.
        #[arg(long)]
        gateway: String,
        /// The cluster's name at the gateway.
        #[arg(long)]
        cluster: String,
    },
}

/// Which gateway.
#[derive(Args, Clone, Debug)]
pub(crate) struct GatewayArgument {
    /// The gateway's address; the one signed in to last when left out.
    #[arg(long = "gateway", value_name = "URL", env = GATEWAY)]
    pub(crate) url: Option<String>,
}

/// The variable that stands for `--gateway` where that is left out.
const GATEWAY: &str = "GATESCRIBE_GATEWAY";

impl GatewayArgument {
    /// Refuses a gateway that was typed beside a folder. The variable is set for a whole shell, and gives way.
    ///
    /// # Errors
    /// Both were typed.
    pub(crate) fn gives_way(&self, dir: Option<&Path>) -> Result<(), Trouble> {
        self.gives_way_in(dir, std::env::var(GATEWAY).ok().as_deref())
    }

    fn gives_way_in(&self, dir: Option<&Path>, variable: Option<&str>) -> Result<(), Trouble> {
        match (dir, self.url.as_deref()) {
            (Some(_), Some(url)) if variable != Some(url) => Err(Trouble::new(
                Exit::Usage,
                "`--dir` reads files and `--gateway` asks a gateway: only one of the two can be meant",
            )
            .remedy("leave one of them out")),
            _ => Ok(()),
        }
    }
}

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For a person.
    Table,
    /// For a program: one JSON document with `apiVersion`.
    Json,
}

pub(crate) fn run(command: ClientCommand, whole: impl FnOnce() -> clap::Command) -> Exit {
    let done = match command {
        ClientCommand::Kube(KubeCommand::Credential { gateway, cluster }) => {
            return credential::run(&gateway, &cluster);
        }
        ClientCommand::Login(arguments) => login::run(&arguments),
        ClientCommand::Logout { all, gateway } => logout::run(all, &gateway),
        ClientCommand::Whoami {
            claims,
            output,
            gateway,
        } => whoami::run(claims, output, &gateway),
        ClientCommand::Idp(IdpCommand::Test {
            config: Some(file),
            token,
            provider,
            ..
        }) => return crate::serve::providers::command(&file, provider.as_deref(), token.as_deref()),
        ClientCommand::Idp(IdpCommand::Test {
            config: None,
            token: _,
            provider,
            device,
            no_browser,
            output,
            gateway,
        }) => whoami::test(provider.as_deref(), device, no_browser, output, &gateway),
        ClientCommand::Can(arguments) => ask::can(&arguments),
        ClientCommand::Why { id, output, gateway } => ask::why(&id, output, &gateway),
        ClientCommand::Api(arguments) => api::run(&arguments),
        ClientCommand::Reason(arguments) => reason::run(&arguments),
        ClientCommand::Exec(arguments) => reason::exec(&arguments),
        ClientCommand::Audit(command) => audit::run(&command),
        ClientCommand::Evidence(command) => evidence::run(&command),
        ClientCommand::Session(command) => sessions::run(&command),
        ClientCommand::Svc(command) => services::run(&command),
        ClientCommand::User(command) => users::run(&command),
        ClientCommand::Hold(command) => erasures::run(&command),
        ClientCommand::Completion { shell } => Ok(about::completion(shell, whole())),
        ClientCommand::Version { output } => Ok(about::version(output)),
    };
    done.unwrap_or_else(|trouble| trouble.said())
}

/// The absolute path of this program: what the kubeconfig calls (and an allow-list of kubectl names, KEP-3104).
fn program() -> Result<PathBuf, Trouble> {
    std::env::current_exe().map_err(|error| {
        Trouble::new(Exit::Fault, "this program does not know its own path")
            .because(error.to_string())
            .remedy("run it by its absolute path")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_beside_the_variable_and_not_beside_a_gateway_that_was_typed() {
        let (dir, url) = (Some(Path::new("copy")), Some("https://gate.example"));
        let of = |url: Option<&str>| GatewayArgument {
            url: url.map(str::to_owned),
        };
        assert_eq!(of(None).gives_way_in(dir, None), Ok(()));
        assert_eq!(of(url).gives_way_in(None, None), Ok(()));
        assert_eq!(of(url).gives_way_in(dir, url), Ok(()), "the variable gives way");
        for variable in [None, Some("https://other.example")] {
            let trouble = of(url).gives_way_in(dir, variable).unwrap_err();
            assert_eq!(
                (trouble.exit, trouble.text().as_str()),
                (
                    Exit::Usage,
                    "✖ `--dir` reads files and `--gateway` asks a gateway: only one of the two can be meant\n  do this  leave one of them out"
                )
            );
        }
    }
}
