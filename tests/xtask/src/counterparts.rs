//! Building the real counterparts: pinned Go modules into `target/counterparts/bin`, pinned npm packages in place, pinned
//! Python packages into environments below `target/counterparts`.
//!
//! A stamp beside each remembers pins, sources, flags and compiler; what has not changed is not built again.

use crate::command::{need, output, root, succeeds, tell};
use anyhow::{Context, bail};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A Go module below `tests/counterparts/` and what is built from it: program name and package.
struct Module {
    folder: &'static str,
    programs: &'static [(&'static str, &'static str)],
    /// `-X` settings of the linker.
    settings: &'static [&'static str],
}

const KUBERNETES_VERSION: &[&str] = &[
    "k8s.io/component-base/version.gitVersion=v1.36.3",
    "k8s.io/component-base/version.gitMajor=1",
    "k8s.io/component-base/version.gitMinor=36",
    "k8s.io/client-go/pkg/version.gitVersion=v1.36.3",
    "k8s.io/client-go/pkg/version.gitMajor=1",
    "k8s.io/client-go/pkg/version.gitMinor=36",
];

const OLDER_KUBECTL_VERSION: &[&str] = &[
    "k8s.io/component-base/version.gitVersion=v1.28.15",
    "k8s.io/component-base/version.gitMajor=1",
    "k8s.io/component-base/version.gitMinor=28",
    "k8s.io/client-go/pkg/version.gitVersion=v1.28.15",
    "k8s.io/client-go/pkg/version.gitMajor=1",
    "k8s.io/client-go/pkg/version.gitMinor=28",
];

const MODULES: &[Module] = &[
    Module {
        folder: "kubernetes",
        programs: &[
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            (
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
            ),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ],
        settings: KUBERNETES_VERSION,
    },
    Module {
        folder: "etcd",
        programs: &[("etcd", "go.etcd.io/etcd/server/v3")],
        settings: &[],
    },
    Module {
        folder: "kwok",
        programs: &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
        settings: &[],
    },
    Module {
        folder: "node",
        programs: &[("gatescribe-node", ".")],
        settings: &[],
    },
    // Clients beside the newest kubectl, each with libraries of its own age.
    Module {
        folder: "kubectl",
        programs: &[("kubectl-1.28", "k8s.io/kubernetes/cmd/kubectl")],
        settings: OLDER_KUBECTL_VERSION,
    },
    Module {
        folder: "clientgo",
        programs: &[("clientgo", ".")],
        settings: &[],
    },
    Module {
        folder: "helm",
        programs: &[("helm", "helm.sh/helm/v3/cmd/helm")],
        settings: &[],
    },
    // Public libraries of transparency logs, for what the ledger proves.
    Module {
        folder: "tlog",
        programs: &[("tlog", ".")],
        settings: &[],
    },
    // A witness on public libraries, and the public log library with its client of witnesses.
    Module {
        folder: "witness",
        programs: &[
            ("publicwitness", "."),
            (
                "tessera-oneshot",
                "github.com/transparency-dev/tessera/cmd/examples/posix-oneshot",
            ),
            ("tessera-fsck", "./fsck"),
        ],
        settings: &[],
    },
    // An agent and a workload on SPIFFE's own library.
    Module {
        folder: "spiffe",
        programs: &[("spiffe", ".")],
        settings: &[],
    },
    // Kubernetes' own evaluators behind a line protocol, for differential tests.
    Module {
        folder: "oracle",
        programs: &[
            ("oracle-audit", "./oracle-audit"),
            ("oracle-cel", "./oracle-cel"),
            ("oracle-rbac", "./oracle-rbac"),
            ("oracle-requestinfo", "./oracle-requestinfo"),
            ("oracle-schema", "./oracle-schema"),
        ],
        settings: &[],
    },
    // What stands behind a gateway of services.
    Module {
        folder: "backends",
        programs: &[("backend-echo", "./echo"), ("backend-web", "./web")],
        settings: &[],
    },
    Module {
        folder: "grpc",
        programs: &[
            ("grpc-service", "./service"),
            ("grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl"),
        ],
        settings: &["main.version=v1.9.4"],
    },
];

/// npm packages: folders below `tests/counterparts/` with a `package-lock.json`.
const PACKAGES: &[&str] = &["provider", "javascript"];

/// Python environments, each with a `requirements.txt` in its folder below `tests/counterparts/`: the client, servers (Envoy
/// among them), JupyterLab.
const ENVIRONMENTS: &[&str] = &["python", "servers", "jupyter"];

/// Builds what changed.
///
/// # Errors
/// A tool is missing, or a build fails.
pub(crate) fn build() -> anyhow::Result<()> {
    need(&["go", "node", "npm", "python3"])?;
    let go = output(Command::new("go").arg("version"))?;
    for module in MODULES {
        let folder = root().join("tests/counterparts").join(module.folder);
        let inputs = digest(&folder, &["go", "mod", "sum"])?;
        for (program, package) in module.programs {
            let stamp = format!("{go}{inputs:016x} {package} {:?} {FLAGS:?}", module.settings);
            go_build(module, &folder, program, package, &stamp)?;
        }
    }
    for package in PACKAGES {
        npm_install(&root().join("tests/counterparts").join(package), package)?;
    }
    for environment in ENVIRONMENTS {
        python_install(&root().join("tests/counterparts").join(environment), environment)?;
    }
    Ok(())
}

const FLAGS: &[&str] = &["-trimpath"];

fn go_build(module: &Module, folder: &Path, program: &str, package: &str, stamp: &str) -> anyhow::Result<()> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    if assets.is_some_and(|assets| assets.join(program).is_file()) {
        tell(&format!("{program}: from KUBEBUILDER_ASSETS"));
        return Ok(());
    }
    let binary = root().join("target/counterparts/bin").join(program);
    let stamp_file = stamp_file(program)?;
    if binary.is_file() && std::fs::read_to_string(&stamp_file).is_ok_and(|have| have == stamp) {
        return Ok(());
    }
    tell(&format!("{program}: building (the first time takes minutes) …"));
    let begun = Instant::now();
    let linker = module
        .settings
        .iter()
        .fold("-s -w".to_owned(), |all, setting| format!("{all} -X {setting}"));
    // Built aside and renamed: a running test keeps the file it has opened.
    let draft = binary.with_extension("new");
    let mut command = Command::new("go");
    command
        .arg("build")
        .args(FLAGS)
        .args(["-ldflags", &linker, "-o"])
        .arg(&draft)
        .arg(package);
    command
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false");
    if !succeeds(&mut command)? {
        bail!("building {program} failed");
    }
    std::fs::rename(&draft, &binary)?;
    std::fs::write(&stamp_file, stamp)?;
    tell(&format!("{program}: built in {} s", begun.elapsed().as_secs()));
    Ok(())
}

fn npm_install(folder: &Path, package: &str) -> anyhow::Result<()> {
    if !folder.join("package-lock.json").is_file() {
        bail!("tests/counterparts/{package} has no package-lock.json");
    }
    let stamp = format!("{:016x}", digest(folder, &["json"])?);
    let stamp_file = stamp_file(&format!("npm-{package}"))?;
    let installed = folder.join("node_modules").is_dir();
    if installed && std::fs::read_to_string(&stamp_file).is_ok_and(|have| have == stamp) {
        return Ok(());
    }
    tell(&format!("{package}: npm ci …"));
    let mut command = Command::new("npm");
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder);
    if !succeeds(&mut command)? {
        bail!("npm ci in tests/counterparts/{package} failed");
    }
    std::fs::write(stamp_file, stamp)?;
    Ok(())
}

/// A virtual environment with exactly the packages that `requirements.txt` names, by digest.
fn python_install(folder: &Path, environment: &str) -> anyhow::Result<()> {
    let python = output(Command::new("python3").arg("--version"))?;
    let stamp = format!("{python}{:016x}", digest(folder, &["txt"])?);
    let stamp_file = stamp_file(environment)?;
    let home = root().join("target/counterparts").join(environment);
    let installed = home.join("bin/python").exists();
    if installed && std::fs::read_to_string(&stamp_file).is_ok_and(|have| have == stamp) {
        return Ok(());
    }
    tell(&format!("{environment}: pip install …"));
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&home);
    if !succeeds(&mut make)? {
        bail!("python3 -m venv failed (on Debian: apt-get install python3-venv)");
    }
    let mut install = Command::new(home.join("bin/python"));
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        // Nothing is built, nothing comes that is not named, and what comes has the digest that is named.
        .args(["--only-binary=:all:", "--no-deps", "--require-hashes", "-r"])
        .arg(folder.join("requirements.txt"));
    if !succeeds(&mut install)? {
        bail!("pip install in tests/counterparts/{environment} failed");
    }
    std::fs::write(stamp_file, stamp)?;
    Ok(())
}

fn stamp_file(name: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("target/counterparts/stamps");
    std::fs::create_dir_all(&folder)?;
    std::fs::create_dir_all(root().join("target/counterparts/bin"))?;
    Ok(folder.join(name))
}

/// A digest of the names and contents of all files with these extensions, in order, without `node_modules`.
fn digest(folder: &Path, extensions: &[&str]) -> anyhow::Result<u64> {
    let mut files = Vec::new();
    collect(folder, extensions, &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(folder)?.hash(&mut hasher);
        std::fs::read(&file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn collect(folder: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let wanted = path
            .extension()
            .and_then(|end| end.to_str())
            .is_some_and(|end| extensions.contains(&end));
        if path.is_dir() && path.file_name().is_some_and(|name| name != "node_modules") {
            collect(&path, extensions, files)?;
        } else if wanted {
            files.push(path);
        }
    }
    Ok(())
}
