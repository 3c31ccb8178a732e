//! The real API server, asked by plain HTTP. Its namespaces bear a tag of the round, which no reply shows; and what
//! controllers do in a cluster with namespaces that are deleted is done here.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use http::Method;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kleym_api::{binding, standin};
use kleym_core::kind::Kind;
use kleym_testenv::{ControlPlane, Options, apply_yaml, eventually};
use kube::client::Body;
use kube::core::WatchEvent;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::operation::{FLEETING, HOME, KINDS, PASSING};
use crate::wire::{Request, Verb};

/// How long an API server may take for what it does by and by.
const SOON: Duration = Duration::from_secs(60);

/// An answer: the code, and the body where it is JSON.
pub(super) type Answer = (u16, Value);

/// The API server, and the tag of the present round.
pub(super) struct Real {
    plane: ControlPlane,
    client: Client,
    tag: String,
    rounds: u32,
}

impl Real {
    /// Starts one that serves every kind of the operations.
    pub(super) async fn start() -> Result<Self> {
        let plane = ControlPlane::start(Options::default()).await?;
        let client = plane.client()?;
        let real = Self { plane, client, tag: String::new(), rounds: 0 };
        let all: Vec<Value> = KINDS.iter().map(|kind| definition(*kind)).collect();
        real.apply(all).await?;
        Ok(real)
    }

    /// Has everything before a version forgotten, as an API server does every five minutes.
    pub(super) async fn compact(&self, version: &str) -> Result<()> {
        self.plane.compact_etcd(version.parse()?).await
    }

    /// Ends it and starts it again: whatever it kept in memory is gone.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.plane.stop_apiserver();
        self.plane.start_apiserver().await?;
        self.client = self.plane.client()?;
        for kind in KINDS {
            kleym_testenv::wait_for_crd(&self.client, &kind.crd_name()).await?;
        }
        Ok(())
    }

    async fn apply(&self, objects: Vec<Value>) -> Result<()> {
        apply_yaml(&self.client, &json!({"kind": "List", "items": objects}).to_string()).await?;
        Ok(())
    }

    /// Makes room for another round.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.rounds += 1;
        self.tag = format!("-{}", self.rounds);
        self.define().await?;
        for kind in KINDS {
            self.clear(kind).await?;
        }
        self.begin_namespace(HOME).await?;
        self.begin_namespace(PASSING).await
    }

    /// Deletes every object of a kind, whatever holds it.
    async fn clear(&self, kind: Kind) -> Result<()> {
        for item in items(&self.ask(Method::GET, &path(kind, ""), "", &Value::Null).await?.1) {
            let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default();
            let one = format!("{}/{}", path(kind, text("namespace")), text("name"));
            let freed = json!({"metadata": {"finalizers": null}});
            self.ask(Method::PATCH, &one, "application/merge-patch+json", &freed).await?;
            self.ask(Method::DELETE, &one, JSON, &json!({})).await?;
        }
        Ok(())
    }

    /// Makes a namespace.
    pub(super) async fn begin_namespace(&self, name: &str) -> Result<()> {
        let name = format!("{name}{}", self.tag);
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let (code, body) = self.ask(Method::POST, "/api/v1/namespaces", JSON, &object).await?;
        ensure!(code == 201, "a namespace cannot be made: {code} {body}");
        self.namespace_is(&name, 201).await
    }

    /// Begins to delete a namespace, and deletes everything in it, as the namespace controller does.
    pub(super) async fn end_namespace(&self, name: &str) -> Result<()> {
        let tagged = format!("{name}{}", self.tag);
        self.ask(Method::DELETE, &format!("/api/v1/namespaces/{tagged}"), JSON, &json!({})).await?;
        self.namespace_is(&tagged, 403).await?;
        for kind in KINDS.into_iter().filter(|kind| kind.namespaced()) {
            let all = path(kind, &tagged);
            for item in items(&self.ask(Method::GET, &all, "", &Value::Null).await?.1) {
                let name = item["metadata"]["name"].as_str().context("an object without a name")?;
                self.ask(Method::DELETE, &format!("{all}/{name}"), JSON, &json!({})).await?;
            }
        }
        Ok(())
    }

    /// Lets go of a namespace that is deleted and empty.
    pub(super) async fn finish_namespace(&self, name: &str) -> Result<()> {
        let name = format!("{name}{}", self.tag);
        let one = format!("/api/v1/namespaces/{name}");
        let (code, mut namespace) = self.ask(Method::GET, &one, "", &Value::Null).await?;
        ensure!(code == 200, "the namespace is gone already: {code}");
        namespace["spec"]["finalizers"] = json!([]);
        let (code, body) = self.ask(Method::PUT, &format!("{one}/finalize"), JSON, &namespace).await?;
        ensure!(code == 200, "a namespace cannot be finished: {code} {body}");
        self.namespace_is(&name, 404).await
    }

    /// Waits until admission knows what has become of a namespace.
    async fn namespace_is(&self, name: &str, wanted: u16) -> Result<()> {
        let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
        let uri = format!("/api/v1/namespaces/{name}/configmaps?dryRun=All");
        eventually(&format!("a create in `{name}` is answered with {wanted}"), SOON, || async {
            let (code, _) = self.ask(Method::POST, &uri, JSON, &probe).await?;
            ensure!(code == wanted, "it is answered with {code}");
            Ok(())
        })
        .await
    }

    /// Deletes the definition of the fleeting kind, and waits until its objects are gone or being deleted.
    pub(super) async fn undefine(&self) -> Result<()> {
        let name = FLEETING.crd_name();
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        definitions.delete(&name, &kube::api::DeleteParams::default()).await?;
        eventually(&format!("`{name}` is being deleted"), SOON, || async {
            let Some(definition) = definitions.get_opt(&name).await? else { return self.is_gone().await };
            let conditions = definition.status.and_then(|status| status.conditions).unwrap_or_default();
            let terminating = conditions.iter().any(|c| c.type_ == "Terminating" && c.status == "True");
            ensure!(terminating, "its conditions are {conditions:?}");
            let (_, list) = self.ask(Method::GET, &path(FLEETING, ""), "", &Value::Null).await?;
            let left = items(&list);
            ensure!(!left.is_empty(), "it is empty, and still there");
            let deleting = left.iter().all(|item| item["metadata"].get("deletionTimestamp").is_some());
            ensure!(deleting, "not all of its objects are being deleted");
            Ok(())
        })
        .await
    }

    /// Waits until the fleeting kind is gone.
    pub(super) async fn undefined(&self) -> Result<()> {
        eventually("the definition is gone", SOON, || self.is_gone()).await
    }

    async fn is_gone(&self) -> Result<()> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        ensure!(definitions.get_opt(&FLEETING.crd_name()).await?.is_none(), "it is still there");
        let (code, _) = self.ask(Method::GET, &path(FLEETING, ""), "", &Value::Null).await?;
        ensure!(code == 404, "it is still served");
        Ok(())
    }

    /// Makes the definition of the fleeting kind, unless it is there.
    pub(super) async fn define(&self) -> Result<()> {
        let definitions = Api::<CustomResourceDefinition>::all(self.client.clone());
        if let Some(there) = definitions.get_opt(&FLEETING.crd_name()).await? {
            if there.metadata.deletion_timestamp.is_none() {
                return Ok(());
            }
            self.clear(FLEETING).await?;
            self.undefined().await?;
        }
        self.apply(vec![definition(FLEETING)]).await
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: &Request) -> Result<Answer> {
        let namespace = self.tagged(&request.namespace);
        let all = path(request.kind, &namespace);
        let one = format!("{all}/{}", request.name);
        let mut body = request.body.clone();
        if body["metadata"].get("namespace").is_some() {
            body["metadata"]["namespace"] = json!(namespace);
        }
        let strict = "fieldValidation=Strict";
        let (method, uri, content) = match request.verb {
            Verb::Get => (Method::GET, one, ""),
            Verb::List => (Method::GET, format!("{all}?fieldSelector=metadata.name%3D{}", request.name), ""),
            Verb::Page => {
                let token = body["continue"].as_str().unwrap_or_default();
                (Method::GET, format!("{all}?limit={}&continue={}", body["limit"], encoded(token)), "")
            }
            Verb::Create => (Method::POST, format!("{all}?{strict}"), JSON),
            Verb::TryCreate => (Method::POST, format!("{all}?{strict}&dryRun=All"), JSON),
            Verb::Replace => (Method::PUT, format!("{one}?{strict}"), JSON),
            Verb::ReplaceStatus => (Method::PUT, format!("{one}/status"), JSON),
            Verb::PatchFinalizers => (Method::PATCH, one, "application/merge-patch+json"),
            Verb::Delete => (Method::DELETE, one, JSON),
        };
        let (code, mut answer) = self.ask(method, &uri, content, &body).await?;
        self.untag(&mut answer);
        Ok((code, answer))
    }

    /// What happened to a kind after a version, up to an object of this name; with an answer of its own if it does not
    /// begin.
    pub(super) async fn watch(
        &self,
        kind: Kind,
        namespace: &str,
        version: &str,
        last: &str,
    ) -> Result<Vec<(&'static str, Value)>> {
        let all = path(kind, &self.tagged(namespace));
        let uri =
            format!("{all}?watch=true&allowWatchBookmarks=true&timeoutSeconds=30&resourceVersion={version}");
        let request = http::Request::get(uri).body(Vec::new())?;
        let events = self.client.request_events::<Value>(request).await?;
        let mut events = pin!(events);
        let mut told = Vec::new();
        loop {
            let event = timeout(SOON, events.try_next()).await.context("a watch brings nothing")??;
            let (sort, mut object) = match event {
                Some(WatchEvent::Added(object)) => ("ADDED", object),
                Some(WatchEvent::Modified(object)) => ("MODIFIED", object),
                Some(WatchEvent::Deleted(object)) => ("DELETED", object),
                Some(WatchEvent::Bookmark(_)) => continue,
                Some(WatchEvent::Error(status)) => ("ERROR", serde_json::to_value(&*status)?),
                None => bail!("a watch ends before `{last}`"),
            };
            self.untag(&mut object);
            let ends = sort == "ERROR" || object["metadata"]["name"] == last;
            told.push((sort, object));
            if ends {
                return Ok(told);
            }
        }
    }

    /// The answer to a write that happens during a watch from this version, and the version of the bookmark after it.
    pub(super) async fn bookmark(&self, write: &Request, version: &str) -> Result<(Answer, String)> {
        // The API server sends a bookmark two seconds before the time of a watch is over, if anything happened.
        let uri = format!(
            "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds=5&resourceVersion={version}",
            path(write.kind, "")
        );
        let events = self.client.request_events::<Value>(http::Request::get(uri).body(Vec::new())?).await?;
        let answer = self.answer(write).await?;
        let mut events = pin!(events);
        while let Some(event) = timeout(SOON, events.try_next()).await?? {
            if let WatchEvent::Bookmark(bookmark) = event {
                return Ok((answer, bookmark.metadata.resource_version));
            }
        }
        bail!("a watch ends without a bookmark")
    }

    fn tagged(&self, namespace: &str) -> String {
        if namespace.is_empty() { String::new() } else { format!("{namespace}{}", self.tag) }
    }

    fn untag(&self, answer: &mut Value) {
        for pointer in ["/metadata/namespace", "/details/name"] {
            if let Some(text) = answer.pointer_mut(pointer)
                && let Some(plain) = text.as_str().and_then(|text| text.strip_suffix(&self.tag))
            {
                *text = json!(plain);
            }
        }
        for item in answer.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            self.untag(item);
        }
    }

    async fn ask(&self, method: Method, uri: &str, content: &str, body: &Value) -> Result<Answer> {
        let mut request = http::Request::builder().method(method).uri(uri);
        let mut bytes = Vec::new();
        if !content.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, content);
            bytes = serde_json::to_vec(body)?;
        }
        let response = self.client.send(request.body(Body::from(bytes))?).await?;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await?;
        Ok((code, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }
}

const JSON: &str = "application/json";

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

fn path(kind: Kind, namespace: &str) -> String {
    let base = format!("/apis/{}", kind.api_version());
    if namespace.is_empty() {
        format!("{base}/{}", kind.plural())
    } else {
        format!("{base}/namespaces/{namespace}/{}", kind.plural())
    }
}

fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").replace('/', "%2F")
}

/// The definition of a kind: the real one of what the operator writes; of what it only reads, one that takes anything.
fn definition(kind: Kind) -> Value {
    let definition = standin::definition(kind).unwrap_or_else(binding::definition);
    let mut definition = serde_json::to_value(definition).unwrap();
    if !matches!(kind, Kind::Binding | Kind::Output) {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything;
    }
    definition
}
