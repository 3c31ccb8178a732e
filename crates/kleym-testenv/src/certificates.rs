//! The certificates of one environment: an authority made at its start, the API server's certificate, one
//! certificate for each user, and the key pair that signs service account tokens. Keys are written into the
//! environment's folder only, and nobody else can read them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// The OID of the organisation attribute, spelled out: `rcgen` holds one value for each kind of attribute, so a
/// second group needs a second spelling of the same kind.
const ORGANISATION: [u64; 4] = [2, 5, 4, 10];

/// The authority and the keys of one environment.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    client_key: KeyPair,
    folder: PathBuf,
    issued: AtomicUsize,
}

/// The files that make one user.
#[derive(Debug, Clone)]
pub(crate) struct UserFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Where a kubeconfig for this certificate belongs.
    pub(crate) kubeconfig: PathBuf,
}

impl Authority {
    /// Makes the authority and writes what the API server needs into `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kleym-testenv");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self {
            issuer,
            client_key: KeyPair::generate()?,
            folder: folder.to_owned(),
            issued: AtomicUsize::new(0),
        };

        let server_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["127.0.0.1".into(), "localhost".into()])?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = params.signed_by(&server_key, &authority.issuer)?;
        let tokens_key = KeyPair::generate()?;

        authority.write("ca.crt", &authority.issuer.pem())?;
        authority.write("client.key", &authority.client_key.serialize_pem())?;
        authority.write("server.crt", &server.pem())?;
        authority.write("server.key", &server_key.serialize_pem())?;
        authority.write("service-accounts.key", &tokens_key.serialize_pem())?;
        authority.write("service-accounts.pub", &tokens_key.public_key_pem())?;
        Ok(authority)
    }

    /// The authority's certificate, DER.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// Issues a certificate for a user; every call writes files of its own.
    pub(crate) fn issue(&self, user: &str, groups: &[&str]) -> Result<UserFiles> {
        ensure!(!user.is_empty(), "a user needs a name");
        ensure!(
            groups.len() <= 2,
            "user `{user}` has {} groups, but a certificate of this environment holds at most two",
            groups.len()
        );
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        for (group, kind) in
            groups.iter().zip([DnType::OrganizationName, DnType::CustomDnType(ORGANISATION.to_vec())])
        {
            params.distinguished_name.push(kind, *group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&self.client_key, &self.issuer)?;

        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let plain: String =
            user.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(100).collect();
        let name = format!("user-{number}-{plain}");
        Ok(UserFiles {
            certificate: self.write(&format!("{name}.crt"), &certificate.pem())?,
            key: self.folder.join("client.key"),
            kubeconfig: self.folder.join(format!("{name}.kubeconfig")),
        })
    }

    fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }
}
