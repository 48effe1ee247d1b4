//! Certificates for tests: authorities made on the spot, ECDSA P-256 as most clusters have.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS #8.
    pub key: String,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Ca {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// Makes a self-signed authority with a new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(common_name: &str) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(common_name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A server certificate for DNS names and addresses.
    ///
    /// # Errors
    /// A name is neither.
    pub fn server(&self, names: &[&str]) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name = named(names.first().unwrap_or(&"server"), &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A client certificate: Kubernetes reads the common name as user, each organisation as a group.
    ///
    /// # Errors
    /// More than two groups: the certificate library keeps one value per kind of name, and an organisation can be
    /// written as two kinds (its own and by object identifier).
    pub fn client(&self, user: &str, groups: &[&str]) -> anyhow::Result<Identity> {
        anyhow::ensure!(
            groups.len() <= 2,
            "a client certificate of the bench has at most two groups"
        );
        let mut params = CertificateParams::default();
        params.distinguished_name = named(user, groups);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// An X.509-SVID of this workload, as SPIRE issues them: without a common name, for both sides of TLS.
    ///
    /// # Errors
    /// The ID is no URI.
    pub fn workload(&self, id: &str) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
        params.subject_alt_names = vec![SanType::URI(id.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// Signs any other certificate under a new key.
    ///
    /// # Errors
    /// The parameters contradict one another.
    pub fn sign(&self, mut params: CertificateParams) -> anyhow::Result<Identity> {
        let key = KeyPair::generate()?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(Identity {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn named(common_name: &str, organisations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    let kinds = [DnType::OrganizationName, DnType::CustomDnType(ORGANISATION.to_vec())];
    for (organisation, kind) in organisations.iter().zip(kinds) {
        name.push(kind, *organisation);
    }
    name
}

/// id-at-organizationName, X.520.
const ORGANISATION: [u64; 4] = [2, 5, 4, 10];
