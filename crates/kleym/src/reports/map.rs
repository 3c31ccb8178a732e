//! What `kleym graph -o json` answers. Texts are as they were declared.

use schemars::JsonSchema;
use serde::Serialize;

use super::Reported;
use crate::map::{Column, Link, Meeting, State};

/// Who can be whom: pools, objectives, bindings, outputs, pods and SPIFFE IDs, by namespace.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct IdentityMap {
    /// The trust domain of every SPIFFE ID that Kleym computes; of several operators each, with commas between.
    pub trust_domain: String,
    /// The class of every output that Kleym computes; of several operators each, with commas between.
    pub class_name: Option<String>,
    /// Whether pods were looked at; without them nothing is said of who matches.
    pub pods_known: bool,
    /// By name; identities never cross a namespace.
    pub namespaces: Vec<NamespaceMap>,
}

impl Reported for IdentityMap {
    const KIND: &'static str = "IdentityMap";
}

/// One namespace.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceMap {
    /// Its name.
    pub namespace: String,
    /// What there is, by column, and in it by name.
    pub nodes: Vec<MapNode>,
    /// What is connected.
    pub edges: Vec<MapEdge>,
    /// Every pair of its bindings.
    pub overlap: MapOverlap,
}

/// An object, or several that are alike.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct MapNode {
    /// What edges call it.
    pub id: String,
    /// Which column it stands in.
    #[schemars(extend("enum" = Column::ALL.map(Column::word)))]
    pub column: &'static str,
    /// Its name.
    pub name: String,
    /// How it stands.
    #[schemars(extend("enum" = State::ALL.map(State::word)))]
    pub state: &'static str,
    /// What it is, in a few words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// How many pods it stands for.
    #[serde(skip_serializing_if = "is_zero")]
    pub pods: usize,
    /// The containers of the pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<MapContainer>,
    /// What else is to be said of it.
    pub facts: Vec<MapFact>,
}

/// A container.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct MapContainer {
    /// Its name.
    pub name: String,
    /// What it is to its pod.
    #[schemars(extend("enum" = ["container", "init", "sidecar"]))]
    pub role: &'static str,
    /// Its image.
    pub image: String,
}

/// Something that is to be said of an object.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct MapFact {
    /// What.
    pub what: &'static str,
    /// And that.
    pub value: String,
}

/// What is connected, and how.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct MapEdge {
    /// How.
    #[schemars(extend("enum" = Link::ALL.map(Link::word)))]
    pub link: &'static str,
    /// From which node.
    pub from: String,
    /// From which container of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_container: Option<String>,
    /// To which node.
    pub to: String,
    /// To which container of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_container: Option<String>,
    /// Of a container's edges: the output that they are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Why, where that is to be said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// Which bindings of a namespace could meet in a container.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct MapOverlap {
    /// By precedence.
    pub bindings: Vec<String>,
    /// Bindings that claim no identity.
    pub without_identity: Vec<String>,
    /// Whether every pair is listed; otherwise those that are disjoint are not.
    pub complete: bool,
    /// Whether there are more pairs than are listed.
    pub cut: bool,
    /// The pairs.
    pub pairs: Vec<MapPair>,
}

/// Two bindings.
#[derive(Serialize, JsonSchema, Debug, Clone)]
#[serde(rename_all = "camelCase")]
pub struct MapPair {
    /// The one that comes first.
    pub first: String,
    /// The other.
    pub second: String,
    /// How they stand to each other.
    #[schemars(extend("enum" = Meeting::WORDS))]
    pub relation: &'static str,
    /// Of disjoint ones: the selector key that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its value in the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_value: Option<String>,
    /// Its value in the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_value: Option<String>,
    /// Of a conflict: its reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
    /// Of a conflict: who holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
