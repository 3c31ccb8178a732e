//! The certificate that protected metrics are served with: from files, read again when they change, or made at the start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rcgen::{CertificateParams, DnType, KeyPair};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The least time between two looks at the files.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// Made at the start and signed by itself: it hides what is sent, and proves nothing to the scraper.
    SelfSigned,
    /// Read from PEM files, and again when their content has changed.
    Files {
        /// The certificate, followed by those that signed it.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Tls {
    source: Certificate,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// What the files held that were looked at last, usable or not.
    content: Content,
    looked: Instant,
}

type Content = [u8; 32];

impl Tls {
    /// Takes the certificate into use.
    ///
    /// # Errors
    /// When it cannot be read or used.
    pub(super) async fn load(source: Certificate) -> anyhow::Result<Self> {
        let (config, content) = match &source {
            Certificate::SelfSigned => (self_signed()?, Content::default()),
            Certificate::Files { certificate, key } => {
                let files = Files::read(certificate, key).await?;
                (files.config()?, files.content())
            }
        };
        let current = Current { config: Arc::new(config), content, looked: Instant::now() };
        Ok(Self { source, current: Mutex::new(current) })
    }

    /// What the next connection is served with. Files that have changed into something unusable leave it as it was: a
    /// certificate and its key are not replaced in one step.
    pub(super) async fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().await;
        if let Certificate::Files { certificate, key } = &self.source
            && current.looked.elapsed() >= LOOK_AGAIN
        {
            match Files::read(certificate, key).await {
                Ok(files) if files.content() == current.content => {}
                Ok(files) => {
                    current.content = files.content();
                    match files.config() {
                        Ok(config) => {
                            tracing::info!("the certificate of the metrics has changed and is in use");
                            current.config = Arc::new(config);
                        }
                        Err(error) => {
                            tracing::warn!(
                                "the certificate of the metrics has changed and cannot be used: {error:#}"
                            );
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!("the certificate of the metrics cannot be read again: {error:#}")
                }
            }
            current.looked = Instant::now();
        }
        Arc::clone(&current.config)
    }
}

/// The content of both files.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    async fn read(certificate: &PathBuf, key: &PathBuf) -> anyhow::Result<Self> {
        let read = async |path: &PathBuf| {
            let content = tokio::fs::read(path).await;
            content.with_context(|| format!("cannot read `{}`", path.display()))
        };
        Ok(Self { certificate: read(certificate).await?, key: read(key).await? })
    }

    fn content(&self) -> Content {
        let mut digest = Sha256::new();
        for file in [&self.certificate, &self.key] {
            digest.update(file.len().to_be_bytes());
            digest.update(file);
        }
        digest.finalize().into()
    }

    fn config(&self) -> anyhow::Result<ServerConfig> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .context("the certificate file is not PEM")?;
        ensure!(!chain.is_empty(), "the certificate file holds no certificate");
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).context("the key file holds no private key in PEM")?;
        config(chain, key)
    }
}

fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> anyhow::Result<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("no version of TLS can be spoken")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and its key cannot be used together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn self_signed() -> anyhow::Result<ServerConfig> {
    let key = KeyPair::generate().context("cannot make a key for the metrics")?;
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, "kleym-operator");
    let certificate = parameters.self_signed(&key).context("cannot sign a certificate for the metrics")?;
    config(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a certificate and its key that is removed at the end.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("kleym-tls-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn put(&self, certificate: Option<&str>, key: Option<&str>) {
            for (name, content) in [("tls.crt", certificate), ("tls.key", key)] {
                match content {
                    Some(content) => std::fs::write(self.0.join(name), content).unwrap(),
                    None => drop(std::fs::remove_file(self.0.join(name))),
                }
            }
        }

        fn source(&self) -> Certificate {
            Certificate::Files { certificate: self.0.join("tls.crt"), key: self.0.join("tls.key") }
        }
    }

    /// A certificate and its key.
    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// What the next connection is served with when the last look at the files is long ago.
    async fn later(tls: &Tls) -> Arc<ServerConfig> {
        tls.current.lock().await.looked = Instant::now() - LOOK_AGAIN;
        tls.config().await
    }

    #[tokio::test]
    async fn files_that_become_unusable_change_nothing_and_usable_ones_are_taken_into_use() {
        let (folder, (first, first_key), (second, second_key)) = (Folder::new(), pair(), pair());
        folder.put(Some(&first), Some(&first_key));
        let tls = Tls::load(folder.source()).await.unwrap();
        let used = tls.config().await;
        for (certificate, key) in [
            (Some(first.as_str()), Some(first_key.as_str())),
            (Some(&second), Some(&first_key)),
            (Some("no certificate"), Some(&first_key)),
            (Some(&first), Some("no key")),
            (Some(""), Some("")),
            (None, Some(&first_key)),
            (None, None),
        ] {
            folder.put(certificate, key);
            assert!(Arc::ptr_eq(&later(&tls).await, &used), "{certificate:?} with {key:?}");
        }
        folder.put(Some(&second), Some(&second_key));
        assert!(Arc::ptr_eq(&tls.config().await, &used), "the files are not looked at all the time");
        let renewed = later(&tls).await;
        assert!(!Arc::ptr_eq(&renewed, &used));
        assert!(Arc::ptr_eq(&later(&tls).await, &renewed));
        folder.put(Some(&first), Some(&first_key));
        assert!(!Arc::ptr_eq(&later(&tls).await, &renewed), "back again is a change too");
    }

    #[tokio::test]
    async fn a_certificate_of_ones_own_needs_no_files() {
        let tls = Tls::load(Certificate::SelfSigned).await.unwrap();
        assert!(Arc::ptr_eq(&later(&tls).await, &later(&tls).await));
    }
}
