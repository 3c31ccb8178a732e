//! The metrics page behind the real API server's reviews, with certificates that change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kleym_api::rights::{PROTECTED_METRICS, Right};
use kleym_operator::metrics::{self, Certificate, Metrics, Secure};
use kleym_testenv::{Mark, apply_yaml, eventually};
use kube::api::PostParams;
use kube::client::ClientBuilder;
use kube::{Api, Client};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_util::sync::CancellationToken;

use crate::world::{SOON, World};

/// Takes every certificate: which one was shown is what the tests look at.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a scraper got.
struct Scraped {
    code: u16,
    head: String,
    body: String,
    certificate: Vec<u8>,
}

async fn scrape(address: SocketAddr, token: Option<&str>) -> anyhow::Result<Scraped> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).context("no certificate")?;
    let certificate = shown.to_vec();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{token}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
    let code = head.split_whitespace().nth(1).context("no code")?.parse()?;
    Ok(Scraped { code, head: head.to_owned(), body: body.to_owned(), certificate })
}

/// The page, served with protection.
struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Served {
    async fn start(certificate: Certificate, reviewer: &Client) -> Self {
        let listener = metrics::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let secure = Secure::new(certificate, reviewer).await.unwrap();
        let stop = CancellationToken::new();
        let serving = metrics::serve(listener, Some(secure), Metrics::default(), stop.clone());
        Self { address, stop, task: tokio::spawn(serving) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// A reader that may read the metrics, and a stranger.
fn reader_and_stranger(namespace: &str) -> String {
    format!(
        "
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader, namespace: {namespace}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: stranger, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: metrics-reader-{namespace}}}
rules:
- nonResourceURLs: [/metrics]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: metrics-reader-{namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-reader-{namespace}}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {namespace}}}]
"
    )
}

/// Binds a user to the permission to ask for these reviews.
async fn let_ask(world: &World, user: &str, rights: &[&Right]) {
    let rule = |right: &&Right| json!({"apiGroups": right.groups, "resources": [right.resource], "verbs": right.verbs});
    let rules = json!(rights.iter().map(rule).collect::<Vec<_>>());
    let yaml = format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: reviewer-{user}}}
rules: {rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: reviewer-{user}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reviewer-{user}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
"
    );
    apply_yaml(&world.client, &yaml).await.unwrap();
}

/// Waits until the API server knows that whoever asks by this client may ask for these reviews.
async fn may_ask(client: &Client, right: &Right) {
    let attributes = ResourceAttributes {
        group: Some(right.groups[0].to_owned()),
        resource: Some(right.resource.to_owned()),
        verb: Some("create".to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let own = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    eventually(&format!("{} may be asked for", right.resource), SOON, || async {
        let answer = Api::all(client.clone()).create(&PostParams::default(), &own).await?;
        ensure!(answer.status.is_some_and(|status| status.allowed), "not yet");
        Ok(())
    })
    .await
    .unwrap();
}

/// A world in which a reader may read the metrics, a stranger may not, and the operator may ask.
struct Readers {
    world: World,
    reviewer: Client,
}

impl Readers {
    async fn new() -> Self {
        let world = World::in_process("metrics").await;
        apply_yaml(&world.client, &reader_and_stranger(&world.namespace)).await.unwrap();
        let_ask(&world, &world.user, &PROTECTED_METRICS.iter().collect::<Vec<_>>()).await;
        let reviewer = world.client_as(&world.user, &[]).unwrap();
        let readers = Self { world, reviewer };
        readers.rights_are_known().await;
        readers
    }

    async fn rights_are_known(&self) {
        for right in &PROTECTED_METRICS {
            may_ask(&self.reviewer, right).await;
        }
        let attributes =
            NonResourceAttributes { path: Some("/metrics".to_owned()), verb: Some("get".to_owned()) };
        let spec = SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{}:reader", self.world.namespace)),
            non_resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let readers = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        eventually("the reader's rights are known", SOON, || async {
            let answer = Api::all(self.world.client.clone()).create(&PostParams::default(), &readers).await?;
            ensure!(answer.status.is_some_and(|status| status.allowed), "the reader may not read yet");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// A token of a service account.
    async fn token(&self, account: &str) -> String {
        let accounts = Api::<ServiceAccount>::namespaced(self.world.client.clone(), &self.world.namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token
    }

    /// How many reviews the operator asked for since then, by resource.
    async fn reviews(&self, since: Mark) -> Vec<String> {
        let calls = self.world.audit().unwrap().calls_since(since).await.unwrap();
        calls.iter().filter(|call| call.user == self.world.user).map(|call| call.resource.clone()).collect()
    }
}

#[tokio::test]
async fn only_a_reader_with_a_permission_sees_the_page_and_is_asked_about_once() {
    let readers = Readers::new().await;
    let served = Served::start(Certificate::SelfSigned, &readers.reviewer).await;
    let (reader, stranger) = (readers.token("reader").await, readers.token("stranger").await);
    let mark = readers.world.mark().await;

    let refused = scrape(served.address, None).await.unwrap();
    assert_eq!(refused.code, 401);
    assert!(refused.head.to_lowercase().contains("www-authenticate: bearer"), "{}", refused.head);
    assert_eq!(scrape(served.address, Some("nobodys")).await.unwrap().code, 401);
    let refused = scrape(served.address, Some(&stranger)).await.unwrap();
    assert_eq!(refused.code, 403);
    assert!(!refused.body.contains("kleym_"), "{}", refused.body);
    for _ in 0..3 {
        let page = scrape(served.address, Some(&reader)).await.unwrap();
        assert_eq!(page.code, 200);
        assert!(
            page.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{}",
            page.head
        );
        assert!(page.body.contains("kleym_build_info{") && page.body.ends_with("# EOF\n"), "{}", page.body);
    }
    let (tokens, accesses) =
        ("authentication.k8s.io/tokenreviews", "authorization.k8s.io/subjectaccessreviews");
    assert_eq!(readers.reviews(mark).await, [tokens, tokens, accesses, tokens, accesses]);
    served.end().await;
}

#[tokio::test]
async fn an_operator_that_may_not_ask_for_each_of_the_reviews_shows_the_page_to_nobody_until_it_may() {
    let readers = Readers::new().await;
    let token = readers.token("reader").await;
    for lacking in &PROTECTED_METRICS {
        let user = format!("without-{}-{}", lacking.resource, readers.world.namespace);
        let others: Vec<&Right> =
            PROTECTED_METRICS.iter().filter(|right| right.resource != lacking.resource).collect();
        let_ask(&readers.world, &user, &others).await;
        let reviewer = readers.world.client_as(&user, &[]).unwrap();
        for other in others {
            may_ask(&reviewer, other).await;
        }
        let served = Served::start(Certificate::SelfSigned, &reviewer).await;
        for _ in 0..3 {
            let refused = scrape(served.address, Some(&token)).await.unwrap();
            assert_eq!(refused.code, 503, "without {}: {}", lacking.resource, refused.body);
            assert!(!refused.body.contains("kleym_"), "{}", refused.body);
        }
        let_ask(&readers.world, &user, &PROTECTED_METRICS.iter().collect::<Vec<_>>()).await;
        eventually("the page is shown when it may ask", SOON, || async {
            let page = scrape(served.address, Some(&token)).await.unwrap();
            ensure!(page.code == 200, "{}", page.code);
            Ok(())
        })
        .await
        .unwrap();
        served.end().await;
    }
}

#[tokio::test]
async fn the_page_is_not_served_without_tls() {
    let readers = Readers::new().await;
    let served = Served::start(Certificate::SelfSigned, &readers.reviewer).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"), "{answer:?}");
    served.end().await;
}

/// A folder with a certificate and its key, as a mounted secret.
struct Files {
    folder: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        Self { folder, certificate, key }
    }

    /// Puts a new certificate and its key there; gives the certificate.
    fn renew(&self) -> Vec<u8> {
        let (certificate, key) = Self::fresh();
        self.put("tls.crt", &certificate.pem());
        self.put("tls.key", &key.serialize_pem());
        certificate.der().to_vec()
    }

    fn fresh() -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (parameters.self_signed(&key).unwrap(), key)
    }

    /// Each file is replaced in one step, but not both.
    fn put(&self, name: &str, content: &str) {
        let next = self.folder.join("next");
        std::fs::write(&next, content).unwrap();
        std::fs::rename(next, self.folder.join(name)).unwrap();
    }

    fn source(&self) -> Certificate {
        Certificate::Files { certificate: self.certificate.clone(), key: self.key.clone() }
    }
}

/// Waits until a certificate is shown; until then it may only be one of these, and nobody is sent away.
async fn shows(served: &Served, wanted: &[u8], before: &[&[u8]]) {
    eventually("the new certificate is shown", SOON, || async {
        let shown = scrape(served.address, None).await.unwrap().certificate;
        assert!(shown == wanted || before.contains(&shown.as_slice()), "another certificate is shown");
        ensure!(shown == wanted, "the former one is shown");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_certificate_that_changes_is_taken_into_use_without_turning_anybody_away() {
    let readers = Readers::new().await;
    let files = Files::new(readers.world.folder(), &format!("certificate-{}", readers.world.namespace));
    let first = files.renew();
    let served = Served::start(files.source(), &readers.reviewer).await;
    assert!(scrape(served.address, None).await.unwrap().certificate == first);
    let second = files.renew();
    shows(&served, &second, &[&first]).await;
    let third = files.renew();
    shows(&served, &third, &[&second]).await;
    served.end().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let readers = Readers::new().await;
    let files = Files::new(readers.world.folder(), &format!("bad-certificate-{}", readers.world.namespace));
    let start = async || {
        let outcome = Secure::new(files.source(), &readers.reviewer).await;
        format!("{:#}", outcome.map(drop).unwrap_err())
    };
    assert!(start().await.contains(&format!("cannot read `{}`", files.certificate.display())));
    files.renew();
    files.put("tls.crt", "");
    assert!(start().await.ends_with("the certificate file holds no certificate"));
    files.put("tls.crt", &Files::fresh().0.pem());
    assert!(start().await.contains("the certificate and its key cannot be used together"));
}

#[tokio::test]
async fn a_scraper_that_never_says_a_word_keeps_nobody_out() {
    let readers = Readers::new().await;
    let served = Served::start(Certificate::SelfSigned, &readers.reviewer).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let answer = tokio::time::timeout(Duration::from_secs(10), scrape(served.address, None)).await;
    assert_eq!(answer.unwrap().unwrap().code, 401);
    served.end().await;
}

#[tokio::test]
async fn every_call_of_a_client_is_counted_where_it_leaves() {
    let world = World::in_process("metrics").await;
    let config = world.config_as(&world.user, &[]).unwrap();
    let host = config.cluster_url.authority().unwrap().to_string();
    let metrics = Metrics::default();
    let builder = ClientBuilder::try_from(config).unwrap();
    let client = builder.with_layer(&metrics.count_calls(&host)).build();
    client.apiserver_version().await.unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(client, &world.namespace);
    for _ in 0..2 {
        accounts.get("nobody").await.unwrap_err();
    }
    let text = metrics.text();
    let counted: Vec<&str> = text.lines().filter(|line| line.starts_with("rest_client")).collect();
    let sample = |code, count| {
        format!(r#"rest_client_requests_total{{code="{code}",method="GET",host="{host}"}} {count}"#)
    };
    assert_eq!(counted, [sample(200, 1), sample(403, 2)]);
}
