//! Connecting: which cluster, as whom, and the one thing that makes the command line read-only, a layer below the client
//! that refuses every request but GET.

use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Method, Request};
use kleym_core::name::{Namespace, describe};
use kleym_core::settings::given::Environment;
use kleym_core::text::Quoted;
use kube::Config;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, KubeconfigError};
use tokio::runtime::Builder;
use tower::BoxError;
use tower::filter::FilterLayer;

use super::answer::BoundAnswers;
use super::kubeconfig;
use super::words::innermost;
use super::{Asked, Cluster};
use crate::args::Connection;
use crate::exit::Failure;

/// How long a connection may take to be opened, whatever a request may take.
const CONNECT: Duration = Duration::from_secs(10);

impl Cluster {
    /// Connects; asks nothing yet.
    ///
    /// # Errors
    /// What is wrong with the flags or the kubeconfig.
    pub(crate) fn connect(typed: &Connection, environment: Environment<'_>) -> Result<Self, Failure> {
        let files = ", or read files with -f (for `diff`: compare with files by --from)";
        Self::connect_or(files, typed, environment)
    }

    /// The same, for a command that looks at a cluster and at nothing else.
    ///
    /// # Errors
    /// What is wrong with the flags or the kubeconfig.
    pub(crate) fn connect_only(typed: &Connection, environment: Environment<'_>) -> Result<Self, Failure> {
        Self::connect_or("", typed, environment)
    }

    fn connect_or(instead: &str, typed: &Connection, environment: Environment<'_>) -> Result<Self, Failure> {
        let Connection { kubeconfig, context, impersonate, impersonate_groups, request_timeout } = typed;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Internal(format!("no runtime: {error}")))?;
        let mut config = match kubeconfig::load(kubeconfig.as_deref(), environment)? {
            Some(file) => {
                let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                runtime
                    .block_on(Config::from_custom_kubeconfig(file, &options))
                    .map_err(|error| unusable(&error))?
            }
            None if context.is_none() && environment("KUBERNETES_SERVICE_HOST").is_some() => {
                Config::incluster().map_err(|error| {
                    let why = innermost(&error);
                    Failure::unusable(format!("the service account of this pod cannot be used: {why}"))
                })?
            }
            None => return Err(no_cluster(instead)),
        };
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = None;
        if let Some(user) = impersonate {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups =
                (!impersonate_groups.is_empty()).then(|| impersonate_groups.clone());
        }
        let agent = HeaderValue::from_static(concat!("kleym/", env!("CARGO_PKG_VERSION")));
        config.headers.push((USER_AGENT, agent));
        let namespace = Namespace::parse(&config.default_namespace).map_err(|error| {
            let words = describe(&config.default_namespace, &error);
            Failure::unusable(format!("the namespace of the context: {words}"))
        })?;
        let server = config.cluster_url.to_string();
        let server = server.trim_end_matches('/').to_owned();
        let _in_runtime = runtime.enter();
        let client = ClientBuilder::try_from(config)
            .map_err(|error| {
                Failure::unusable(format!("no connection to {server} can be set up: {}", innermost(&error)))
            })?
            .with_layer(&BoundAnswers)
            .with_layer(&FilterLayer::new(only_reads))
            .build();
        drop(_in_runtime);
        let asked = Asked::default();
        Ok(Self { runtime, client, namespace, deadline: request_timeout.0, server, asked })
    }
}

impl Cluster {
    /// The contexts of the kubeconfig; asks no cluster.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig.
    pub(crate) fn contexts(typed: &Connection, environment: Environment<'_>) -> Result<Vec<String>, Failure> {
        let file = kubeconfig::load(typed.kubeconfig.as_deref(), environment)?;
        let contexts = file.map(|file| file.contexts).unwrap_or_default();
        Ok(contexts.into_iter().map(|context| context.name).collect())
    }
}

/// Lets a request pass that cannot change anything.
fn only_reads<B>(request: Request<B>) -> Result<Request<B>, BoxError> {
    match *request.method() {
        Method::GET => Ok(request),
        ref other => Err(format!("kleym never sends {other}").into()),
    }
}

fn no_cluster(instead: &str) -> Failure {
    Failure::Unusable {
        problems: vec!["no cluster: there is no kubeconfig, and this is not a pod of one".to_owned()],
        hint: Some(format!("name a kubeconfig with --kubeconfig or KUBECONFIG{instead}")),
    }
}

fn unusable(error: &KubeconfigError) -> Failure {
    let (problem, hint) = match error {
        KubeconfigError::CurrentContextNotSet => {
            ("the kubeconfig has no current context".to_owned(), Some("name one with --context"))
        }
        KubeconfigError::LoadContext(name) => (
            format!("the kubeconfig has no context {}", Quoted(name)),
            Some("`kubectl config get-contexts` lists them"),
        ),
        KubeconfigError::LoadClusterOfContext(name) => {
            (format!("the kubeconfig has no cluster {}, which its context names", Quoted(name)), None)
        }
        KubeconfigError::MissingClusterUrl => {
            ("the cluster in the kubeconfig has no `server`".to_owned(), None)
        }
        other => {
            let outer = other.to_string();
            let outer = outer.split(": ").next().unwrap_or_default();
            (format!("the kubeconfig cannot be used: {outer}: {}", innermost(other)), None)
        }
    };
    Failure::Unusable { problems: vec![problem], hint: hint.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_could_change_something_is_refused_below_the_client() {
        let passes = |method: Method| only_reads(Request::builder().method(method).body(()).unwrap()).is_ok();
        assert!(passes(Method::GET));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            assert!(!passes(method.clone()), "{method}");
        }
    }
}
