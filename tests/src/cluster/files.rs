//! The files that a control plane is started with: authorities, certificates, kubeconfigs, audit policy.

use super::Options;
use crate::kubectl::{Credential, kubeconfig};
use crate::pki::{Ca, Identity};
use crate::process::Folder;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

/// Paths and values that the arguments name.
pub(super) struct Files {
    pub(super) ca: Ca,
    pub(super) admin: Identity,
    pub(super) ca_file: PathBuf,
    pub(super) front_proxy_ca: PathBuf,
    pub(super) serving: (PathBuf, PathBuf),
    pub(super) front_proxy: (PathBuf, PathBuf),
    pub(super) kubelet_client_ca: PathBuf,
    pub(super) kubelet_client: (PathBuf, PathBuf),
    pub(super) kubelet_serving: (PathBuf, PathBuf),
    /// Certificate and key: the API server finds the public key in the certificate (it does not read PKCS #8 for that).
    pub(super) service_accounts: (PathBuf, PathBuf),
    pub(super) audit_policy: PathBuf,
    pub(super) authentication_config: Option<PathBuf>,
    pub(super) node_address: IpAddr,
}

pub(super) const NODE: &str = "node-1";

const AUDIT_POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n";

impl Files {
    pub(super) fn write(folder: &Folder, options: &Options) -> anyhow::Result<Self> {
        let ca = Ca::new("bench-ca")?;
        // Only the API server has a certificate of this one, so only it may dial the node.
        let kubelet_clients = Ca::new("bench-kubelet-client-ca")?;
        let front_proxies = Ca::new("bench-front-proxy-ca")?;
        let node_address = outward_address();
        let serving = ca.server(&[
            "127.0.0.1",
            "::1",
            "localhost",
            "10.0.0.1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
        ])?;
        let kubelet_serving = ca.server(&[&node_address.to_string(), "127.0.0.1", NODE])?;
        let service_accounts = ca.client("service-accounts", &[])?;
        Ok(Self {
            admin: ca.client("admin", &["system:masters"])?,
            ca_file: folder.write("ca.crt", ca.certificate())?,
            front_proxy_ca: folder.write("front-proxy-ca.crt", front_proxies.certificate())?,
            kubelet_client_ca: folder.write("kubelet-client-ca.crt", kubelet_clients.certificate())?,
            serving: pair(folder, "apiserver", &serving)?,
            front_proxy: pair(folder, "front-proxy", &front_proxies.client("front-proxy-client", &[])?)?,
            kubelet_client: pair(
                folder,
                "kubelet-client",
                &kubelet_clients.client("kube-apiserver", &[])?,
            )?,
            kubelet_serving: pair(folder, "kubelet", &kubelet_serving)?,
            service_accounts: pair(folder, "service-accounts", &service_accounts)?,
            audit_policy: folder.write(
                "audit-policy.yaml",
                options.audit_policy.as_deref().unwrap_or(AUDIT_POLICY),
            )?,
            authentication_config: match &options.authentication_config {
                Some(text) => Some(folder.write("authentication.yaml", text)?),
                None => None,
            },
            ca,
            node_address,
        })
    }

    /// A kubeconfig for a component of the control plane.
    pub(super) fn component(
        &self,
        folder: &Folder,
        server: SocketAddr,
        (file, user, groups): (&str, &str, &[&str]),
    ) -> anyhow::Result<PathBuf> {
        let identity = self.ca.client(user, groups)?;
        let text = kubeconfig(
            &format!("https://{server}"),
            self.ca.certificate(),
            &Credential::Certificate(&identity),
        );
        folder.write(&format!("{file}.kubeconfig"), text)
    }
}

fn pair(folder: &Folder, name: &str, identity: &Identity) -> anyhow::Result<(PathBuf, PathBuf)> {
    let certificate = folder.write(&format!("{name}.crt"), &identity.certificate)?;
    Ok((certificate, folder.write(&format!("{name}.key"), &identity.key)?))
}

/// The address of this machine that a route outward would use: the API server refuses to proxy to loopback ones
/// (`nodes/proxy`, `pods/proxy`). Nothing is sent. Without a route it is loopback, and those two do not work.
fn outward_address() -> IpAddr {
    let probe = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    probe().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
