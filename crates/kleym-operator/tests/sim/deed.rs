//! What people, other programs and misfortune do to a cluster and to the operator in it.

use std::collections::BTreeSet;
use std::time::Duration;

use kleym_core::fact::Trouble;
use kleym_core::kind::Kind;
use kleym_core::name::{ClassName, Instance, Namespace};
use kleym_core::output::FINALIZER;
use kleym_core::settings::Settings;
use kleym_core::spiffe::{PathGrants, TrustDomain};
use serde_json::{Value, json};

use crate::objects::{INSTANCE, foreign, output_of};
use crate::server::{INPUTS, Place, Server, fields};
use crate::wire::{Request, Verb};

/// The operator's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Config {
    /// `--trust-domain`
    pub(crate) trust_domain: &'static str,
    /// `--clusterspiffeid-class-name`
    pub(crate) class: Option<&'static str>,
    /// `--watch-namespace`; empty means all.
    pub(crate) namespaces: &'static [&'static str],
}

impl Config {
    /// What most simulations run with.
    pub(crate) const USUAL: Self = Self { trust_domain: "example.org", class: None, namespaces: &[] };

    /// As the engine takes it.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            trust_domain: TrustDomain::parse(self.trust_domain).unwrap(),
            class_name: self.class.map(|class| ClassName::parse(class).unwrap()),
            instance: Instance::parse(INSTANCE).unwrap(),
            path_grants: PathGrants::parse(["llm=/team-a"]).unwrap(),
        }
    }

    /// The namespaces that are served.
    pub(crate) fn served(&self) -> BTreeSet<Namespace> {
        self.namespaces.iter().map(|namespace| Namespace::parse(namespace).unwrap()).collect()
    }

    /// Whether a namespace is served.
    pub(crate) fn serves(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(&namespace)
    }
}

/// What is done to an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meddling {
    /// `admin: true`
    Admin,
    /// An item of the selectors is taken away.
    Selectors,
    /// Another SPIFFE ID.
    SpiffeId,
    /// The namespaceSelector is taken away.
    NamespaceSelector,
    /// The label `managed-by` is taken away.
    ManagedBy,
    /// All labels and annotations are taken away: it is foreign from then on.
    Proof,
    /// The uid in the annotation is another one.
    BindingUid,
    /// An ownerReference and foreign labels are put on.
    Foreign,
    /// A foreign finalizer is put on.
    Hold,
    /// All finalizers are taken off.
    Release,
    /// Deleted.
    Delete,
    /// Deleted, and somebody else's object put in its place.
    Usurp,
    /// Deleted, and an object put in its place that wears our label, but for another binding.
    Pretend,
    /// spire-controller-manager writes its counts.
    Counts(u8),
}

/// One deed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// Create an object, or edit its spec.
    Put(Place, Value),
    /// Delete an object.
    Remove(Place),
    /// Delete everything in a namespace.
    Clear(&'static str),
    /// Delete a namespace.
    EndNamespace(&'static str),
    /// Make a namespace again, if it is gone.
    BeginNamespace(&'static str),
    /// Change nothing that anybody decides by.
    Touch(Place),
    /// Put a foreign finalizer on an object.
    Hold(Place),
    /// Take foreign finalizers off an object.
    Release(Place),
    /// Take Kleym's finalizer off a binding.
    Strip(Place),
    /// Write something into a binding's status.
    Forge(Place, Value),
    /// Meddle with the output of a binding.
    Meddle(&'static str, &'static str, Meddling),
    /// Delete a kind's definition.
    Undefine(Kind),
    /// Put a kind's definition back.
    Define(Kind),
    /// A kind cannot be read from now on.
    Trouble(Kind, Trouble),
    /// A kind can be read again.
    NoTrouble(Kind),
    /// A watch ends and begins again with a list.
    Expire(Kind),
    /// A watch brings nothing for some milliseconds.
    Freeze(Kind, u64),
    /// Requests of one sort fail with this code for some milliseconds.
    Outage(Sort, u16, u64),
    /// A kind's definition changes in a way that does not concern us.
    Redefine(Kind),
    /// By now this output must grant this item.
    MustGrant(Place, &'static str),
    /// By now this output must not grant this item any more.
    MustNotGrant(Place, &'static str),
    /// Every operator dies, and another one starts in its place after some milliseconds.
    Restart(Config, u64),
    /// A standby leads from now on; who led notices after some milliseconds, and dies.
    HandOver(u64),
}

/// A sort of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// All of them.
    Any,
    /// Those that write.
    Writes,
    /// Those of one verb and kind.
    Of(Verb, Kind),
}

impl Sort {
    /// Whether a request is of this sort.
    pub(crate) fn has(self, request: &Request) -> bool {
        match self {
            Sort::Any => true,
            Sort::Writes => request.verb.writes(),
            Sort::Of(verb, kind) => request.verb == verb && request.kind == kind,
        }
    }
}

/// Somebody else's finalizer.
const FOREIGN_FINALIZER: &str = "example.com/keep";

/// Does to the server what is done to the server alone; answers whether that was all.
pub(crate) fn to_server(server: &mut Server, deed: &Deed) -> bool {
    match deed {
        Deed::Put(place, spec) => server.put_by_hand(place, spec.clone()),
        Deed::Remove(place) => {
            server.delete_by_hand(place);
        }
        Deed::Clear(namespace) => {
            for kind in INPUTS {
                let all = server.of_kind(kind).map(|(place, _)| place.clone());
                let inside: Vec<Place> = all.filter(|place| place.namespace == *namespace).collect();
                for place in inside {
                    server.delete_by_hand(&place);
                }
            }
        }
        Deed::EndNamespace(namespace) => server.remove_namespace(namespace),
        Deed::BeginNamespace(namespace) => server.create_namespace(namespace),
        Deed::Touch(place) => {
            let touched = server.now.as_nanos().to_string();
            server.edit_by_hand(place, |object| {
                fields(&mut object["metadata"], "annotations").insert("touched".to_owned(), json!(touched));
            });
        }
        Deed::Hold(place) => hold(server, place),
        Deed::Release(place) => keep_finalizers(server, place, |finalizer| finalizer == FINALIZER),
        Deed::Strip(place) => keep_finalizers(server, place, |finalizer| finalizer != FINALIZER),
        Deed::Forge(place, status) => server.report(place, status.clone()),
        Deed::Meddle(namespace, binding, how) => meddle(server, namespace, binding, *how),
        Deed::Undefine(kind) => server.remove_definition(*kind),
        Deed::Define(kind) => server.restore_definition(*kind),
        Deed::Redefine(kind) => server.redefine(*kind),
        Deed::Trouble(kind, Trouble::NotServed) => {
            server.set_unserved(*kind, true);
            return false;
        }
        Deed::NoTrouble(kind) => {
            server.set_unserved(*kind, false);
            return false;
        }
        Deed::Trouble(..)
        | Deed::Expire(_)
        | Deed::Freeze(..)
        | Deed::Outage(..)
        | Deed::MustGrant(..)
        | Deed::MustNotGrant(..)
        | Deed::Restart(..)
        | Deed::HandOver(_) => return false,
    }
    true
}

fn hold(server: &mut Server, place: &Place) {
    // The API server lets nobody put a finalizer on what is being deleted.
    if server.get(place).is_some_and(|stored| !stored.deleting) {
        server.edit_by_hand(place, |object| {
            let list = &mut object["metadata"]["finalizers"];
            if !list.is_array() {
                *list = json!([]);
            }
            let list = list.as_array_mut().unwrap();
            if !list.contains(&json!(FOREIGN_FINALIZER)) {
                list.push(json!(FOREIGN_FINALIZER));
            }
        });
    }
}

fn keep_finalizers(server: &mut Server, place: &Place, keep: impl Fn(&str) -> bool) {
    server.edit_by_hand(place, |object| {
        let metadata = object["metadata"].as_object_mut().unwrap();
        if let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
            list.retain(|finalizer| finalizer.as_str().is_some_and(&keep));
            if list.is_empty() {
                metadata.shift_remove("finalizers");
            }
        }
    });
}

fn meddle(server: &mut Server, namespace: &str, binding: &str, how: Meddling) {
    let place = Place::output(&output_of(namespace, binding));
    let edit = |server: &mut Server, change: &dyn Fn(&mut Value)| {
        server.edit_by_hand(&place, |object| change(object));
    };
    let drop_field = |object: &mut Value, pointer: &str, field: &str| {
        if let Some(fields) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
            fields.shift_remove(field);
        }
    };
    match how {
        Meddling::Admin => edit(server, &|object| object["spec"]["admin"] = json!(true)),
        Meddling::Selectors => edit(server, &|object| {
            let items = object.pointer_mut("/spec/workloadSelectorTemplates").and_then(Value::as_array_mut);
            if let Some(items) = items.filter(|items| items.len() > 1) {
                items.remove(0);
            }
        }),
        Meddling::SpiffeId => edit(server, &|object| {
            object["spec"]["spiffeIDTemplate"] = json!("spiffe://example.org/ns/llm/objective/chat-0");
        }),
        Meddling::NamespaceSelector => {
            edit(server, &|object| drop_field(object, "/spec", "namespaceSelector"));
        }
        Meddling::ManagedBy => edit(server, &|object| {
            drop_field(object, "/metadata/labels", "kleym.sonda.red/managed-by");
        }),
        Meddling::Proof => edit(server, &|object| {
            drop_field(object, "/metadata", "labels");
            drop_field(object, "/metadata", "annotations");
        }),
        Meddling::BindingUid => edit(server, &|object| {
            fields(&mut object["metadata"], "annotations")
                .insert("kleym.sonda.red/binding-uid".to_owned(), json!("another"));
        }),
        Meddling::Foreign => edit(server, &|object| {
            fields(&mut object["metadata"], "labels").insert("team".to_owned(), json!("x"));
            object["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"}]);
        }),
        Meddling::Hold => hold(server, &place),
        Meddling::Release => keep_finalizers(server, &place, |_| false),
        Meddling::Delete => {
            server.delete_by_hand(&place);
        }
        Meddling::Usurp => {
            server.delete_by_hand(&place);
            server.create_by_hand(&place, foreign());
        }
        Meddling::Pretend => {
            server.delete_by_hand(&place);
            let mut object = foreign();
            object["metadata"]["labels"] = json!({"kleym.sonda.red/managed-by": "kleym"});
            object["metadata"]["annotations"] = json!({"kleym.sonda.red/binding": "elsewhere/other"});
            server.create_by_hand(&place, object);
        }
        Meddling::Counts(count) => {
            server.report(&place, json!({"stats": {"podsSelected": count, "entriesToSet": count}}));
        }
    }
}

/// The deed in one line.
pub(crate) fn describe(deed: &Deed) -> String {
    match deed {
        Deed::Put(place, spec) => format!("put {} {}/{} {spec}", place.kind, place.namespace, place.name),
        Deed::Remove(place) => format!("remove {} {}/{}", place.kind, place.namespace, place.name),
        Deed::Forge(place, status) => format!("forge {}/{} {status}", place.namespace, place.name),
        Deed::Touch(place) | Deed::Hold(place) | Deed::Release(place) | Deed::Strip(place) => {
            let verb = format!("{deed:?}").split('(').next().unwrap_or_default().to_lowercase();
            format!("{verb} {} {}/{}", place.kind, place.namespace, place.name)
        }
        other => format!("{other:?}"),
    }
}

/// A time in milliseconds.
pub(crate) fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}
