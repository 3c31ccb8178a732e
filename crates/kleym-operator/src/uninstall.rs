//! `kleym-operator uninstall-check`: whether the operator can be taken away without leaving anything that only it would
//! clean up. A binding with our finalizer keeps its namespace from ever being deleted once no operator is there.
//!
//! Only reads. What cannot be read is an error, never a yes; a kind whose definition is proved absent has no objects.

use std::collections::BTreeSet;

use anyhow::anyhow;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kleym_api::resource::api_resource;
use kleym_core::kind::Kind;
use kleym_core::name::Namespace;
use kleym_core::output::{
    FINALIZER, LABEL_BINDING_NAME, LABEL_BINDING_NAMESPACE, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY,
};
use kube::api::{ListParams, PartialObjectMeta};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};

use crate::client;
use crate::metrics::Metrics;
use crate::settings::Configuration;

/// How many objects are named; the rest are counted.
const NAMED: usize = 20;
const PAGE: u32 = 500;

/// What would be left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Left {
    /// Bindings with our finalizer, as `<namespace>/<name>`.
    pub bindings: BTreeSet<String>,
    /// Outputs of this instance, by name.
    pub outputs: BTreeSet<String>,
    /// Outputs of this instance for bindings of namespaces that it does not watch, by name. The bindings cannot be read,
    /// but while there is an output its binding has the finalizer.
    pub unwatched: BTreeSet<String>,
    instance: String,
}

/// What would be left behind if the operator with this configuration were uninstalled now.
///
/// # Errors
/// When it cannot be read.
pub async fn check(configuration: &Configuration) -> anyhow::Result<Left> {
    let client = client::connect(configuration.kubeconfig.as_deref(), &Metrics::default()).await?;
    let instance = configuration.settings.instance.to_string();
    let watched = |namespace: &str| {
        configuration.namespaces.is_empty()
            || configuration.namespaces.iter().any(|watched| watched.as_str() == namespace)
    };
    let mut left = Left { instance, ..Left::default() };
    if served(&client, Kind::Binding).await? {
        let namespaces: Vec<Option<&Namespace>> = match configuration.namespaces.is_empty() {
            true => vec![None],
            false => configuration.namespaces.iter().map(Some).collect(),
        };
        for namespace in namespaces {
            let bindings = list(&client, Kind::Binding, namespace, ListParams::default()).await?;
            let held =
                bindings.iter().filter(|binding| binding.finalizers().iter().any(|one| one == FINALIZER));
            left.bindings.extend(held.map(|binding| {
                format!("{}/{}", binding.namespace().unwrap_or_default(), binding.name_any())
            }));
        }
    }
    if served(&client, Kind::Output).await? {
        let ours = format!("{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_INSTANCE}={}", left.instance);
        let outputs = list(&client, Kind::Output, None, ListParams::default().labels(&ours)).await?;
        for output in outputs {
            let labels = output.labels();
            let (Some(namespace), true) =
                (labels.get(LABEL_BINDING_NAMESPACE), labels.contains_key(LABEL_BINDING_NAME))
            else {
                continue;
            };
            let named = if watched(namespace) { &mut left.outputs } else { &mut left.unwatched };
            named.insert(output.name_any());
        }
    }
    Ok(left)
}

/// Whether a kind is there; its definition's absence is proved by a list.
async fn served(client: &Client, kind: Kind) -> anyhow::Result<bool> {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let by_name = ListParams::default().fields(&format!("metadata.name={}", kind.crd_name()));
    let found = definitions.list_metadata(&by_name).await;
    let found = found.map_err(|error| {
        let what = format!("the definition `{}`", kind.crd_name());
        anyhow!(
            "cannot look for {what}: {}",
            why(&error, "customresourcedefinitions.apiextensions.k8s.io", None)
        )
    })?;
    Ok(!found.items.is_empty())
}

async fn list(
    client: &Client,
    kind: Kind,
    namespace: Option<&Namespace>,
    mut parameters: ListParams,
) -> anyhow::Result<Vec<PartialObjectMeta<DynamicObject>>> {
    let resource = api_resource(kind);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace.as_str(), &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut all = Vec::new();
    parameters = parameters.limit(PAGE);
    loop {
        let page = api.list_metadata(&parameters).await;
        let page = page.map_err(|error| {
            let resource = kind.crd_name();
            anyhow!("cannot list `{resource}`: {}", why(&error, &resource, namespace))
        })?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// Why a list cannot be had, in one line with what to do; the library's own words are a dump of its types.
fn why(error: &kube::Error, resource: &str, namespace: Option<&Namespace>) -> String {
    match error {
        kube::Error::Api(status) if status.code == 401 => {
            "the API server does not know who asks; use a kubeconfig or a service account whose credentials are valid".to_owned()
        }
        kube::Error::Api(status) if status.code == 403 => {
            let place = match namespace {
                Some(namespace) => format!("in namespace `{namespace}`"),
                None => "in the whole cluster".to_owned(),
            };
            format!(
                "the verb `list` on `{resource}` is not permitted {place}; ask as the operator's service account, or give who \
                 asks the operator's roles"
            )
        }
        kube::Error::Api(status) => {
            let words = status.message.split_whitespace().collect::<Vec<_>>().join(" ");
            format!("the API server answers {} ({words}); ask again when it is well", status.code)
        }
        other => format!("{}; ask again when the API server can be reached", client::cause(other)),
    }
}

impl Left {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.outputs.is_empty() && self.unwatched.is_empty()
    }

    /// What is left, and what to do about it.
    pub fn message(&self) -> String {
        let mut text = String::new();
        if !self.bindings.is_empty() {
            text.push_str(&format!(
                "{} still to be cleaned up by this operator; without it their namespaces can never be deleted:\n{}\
                 delete them, wait until they are gone, and uninstall then:\n  \
                 kubectl delete inferenceidentitybindings.kleym.sonda.red --all --all-namespaces --wait\n",
                counted(self.bindings.len(), "binding has", "bindings have"),
                names(&self.bindings)
            ));
        }
        if !self.outputs.is_empty() {
            text.push_str(&format!(
                "{} still granted in SPIRE:\n{}the operator removes those of deleted bindings; what is left without a binding:\n  \
                 kubectl delete clusterspiffeids -l {LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_INSTANCE}={}\n",
                counted(self.outputs.len(), "identity is", "identities are"),
                names(&self.outputs),
                self.instance
            ));
        }
        if !self.unwatched.is_empty() {
            text.push_str(&format!(
                "{} still granted by this operator in namespaces that it does not watch:\n{}watch these namespaces again, delete \
                 their bindings, wait until they are gone, and uninstall then\n",
                counted(self.unwatched.len(), "identity is", "identities are"),
                names(&self.unwatched)
            ));
        }
        text
    }
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn names(all: &BTreeSet<String>) -> String {
    let mut text: String = all.iter().take(NAMED).map(|name| format!("  {name}\n")).collect();
    if all.len() > NAMED {
        text.push_str(&format!("  and {} more\n", all.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_with_what_to_do_and_many_are_counted() {
        assert!(Left::default().is_empty());
        let left = Left {
            bindings: (0..22).map(|number| format!("team/b{number:02}")).collect(),
            outputs: ["kleym-team-b00-0".to_owned()].into(),
            unwatched: ["kleym-other-b-0".to_owned()].into(),
            instance: "default".to_owned(),
        };
        let message = left.message();
        assert!(message.starts_with("22 bindings have still to be cleaned up by this operator"), "{message}");
        assert!(message.contains("  team/b19\n  and 2 more\n") && !message.contains("team/b20"), "{message}");
        assert!(
            message.contains("\n1 identity is still granted in SPIRE:\n  kleym-team-b00-0\n"),
            "{message}"
        );
        assert!(message.contains("kubectl delete clusterspiffeids -l kleym.sonda.red/managed-by=kleym,kleym.sonda.red/instance=default"));
        let alone = Left { bindings: BTreeSet::new(), outputs: BTreeSet::new(), ..left };
        assert!(!alone.is_empty());
        let expected = "1 identity is still granted by this operator in namespaces that it does not watch:\n  kleym-other-b-0\n";
        assert!(alone.message().starts_with(expected), "{}", alone.message());
    }
}
