//! What must hold when nothing happens any more: outputs and statuses are what the final facts ask for, and nothing else
//! is there. The verdicts come from an index that is built from the final state alone; that index is itself proved
//! against a naive one elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use kleym_api::{decode, encode};
use kleym_core::fact::Change;
use kleym_core::index::{Decision, Index, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::BindingKey;
use kleym_core::output::{FINALIZER, WantedOutput};
use kleym_core::plan::{Remnant, Standing, Wait};
use kleym_core::refusal::Refusal;
use kleym_core::render::Identity;
use kleym_core::settings::Settings;
use kleym_core::status;
use serde_json::{Value, json};

use super::rules::{Claim, Proofs, Whose, is_neutral, items, overlap};
use super::{Verified, Violation, must};
use crate::deed::Config;
use crate::objects::{INSTANCE, key, output_of};
use crate::server::{Definition, Place, Server, Stored};

/// The final state seen by an operator with this configuration.
struct End<'a> {
    server: &'a Server,
    config: &'a Config,
    settings: Settings,
    index: Index,
}

/// Checks the final state. Answers the outputs at whose names somebody else's object stands in the way: whoever wants
/// one of these must look at it when it starts.
pub(crate) fn settled(server: &Server, config: &Config) -> Result<BTreeSet<String>, Violation> {
    let settings = config.settings();
    let mut index = Index::new(settings.clone());
    for kind in Kind::ALL {
        if server.shelf(kind).definition == Definition::Absent {
            index.apply(Change::Absent(kind));
            continue;
        }
        let served = server.of_kind(kind).filter(|(place, _)| config.serves(&place.namespace));
        let facts = match kind {
            Kind::Output => Vec::new(),
            _ => served.map(|(_, stored)| decode::fact(kind, &stored.value).unwrap()).collect(),
        };
        index.apply(Change::Listed(kind, facts));
    }
    let end = End { server, config, settings, index };
    let mut obstacles = BTreeSet::new();
    for (place, stored) in server.of_kind(Kind::Binding) {
        if config.serves(&place.namespace) {
            end.binding(&key(&place.namespace, &place.name), stored, &mut obstacles)?;
        }
    }
    end.conflicts()?;
    end.outputs()?;
    Ok(obstacles)
}

/// The finalizers that somebody else put on an object.
fn foreign_finalizers(stored: &Stored) -> Vec<Box<str>> {
    stored.finalizers().filter(|finalizer| *finalizer != FINALIZER).map(Into::into).collect()
}

/// How a binding stands that is being deleted and still there: its output is kept, or itself.
fn left(binding: &Stored, kept: Option<&Stored>) -> Standing {
    match kept {
        Some(output) => Standing::Waiting(Wait::Finalizers(foreign_finalizers(output))),
        None => Standing::Released { kept_by: foreign_finalizers(binding) },
    }
}

impl End<'_> {
    fn output(&self, key: &BindingKey) -> Option<&Stored> {
        self.server.get(&Place::output(&output_of(key.namespace.as_str(), key.name.as_str())))
    }

    fn binding(&self, key: &BindingKey, stored: &Stored, obstacles: &mut BTreeSet<String>) -> Verified {
        let name = output_of(key.namespace.as_str(), key.name.as_str());
        let live = self.output(key);
        let whose = live.map_or(Whose::Foreign, |live| Proofs::of(&live.value).whose(key, &stored.uid));
        let ours = live.filter(|_| whose != Whose::Foreign);
        // Only what somebody else's finalizer keeps may still be there although it should not, and it selects nothing.
        let kept = ours.filter(|live| live.deleting);
        if let Some(kept) = kept {
            must(is_neutral(&kept.value), "S4", || format!("{name} is kept and still selects"))?;
        }
        let held = stored.finalizers().any(|finalizer| finalizer == FINALIZER);
        if stored.deleting {
            must(ours.is_none() || kept.is_some(), "S5", || {
                format!("{key} is being deleted and has an output")
            })?;
            must(!held || kept.is_some(), "L1", || format!("{key} is never let go"))?;
            return self.status(key, &stored.value, &self.index.verdict(key), &left(stored, kept));
        }
        must(ours.is_none() || kept.is_some() || held, "order", || {
            format!("{key} has an output and no finalizer")
        })?;

        let decision = self.index.verdict(key);
        let output_kind = self.server.shelf(Kind::Output).definition;
        let kept_by = || kept.map(foreign_finalizers);
        let standing = match &decision.verdict {
            Verdict::Refused(refusal) => {
                must(ours.is_none() || kept.is_some(), "S5", || {
                    format!("{key} is refused and has an output")
                })?;
                let remnant = kept_by().map_or(Remnant::Nothing, Remnant::Kept);
                Standing::Refused { refusal: refusal.clone(), remnant }
            }
            Verdict::Wanted(_) if output_kind == Definition::Absent => {
                Standing::Refused { refusal: Refusal::OutputCrdMissing, remnant: Remnant::Nothing }
            }
            Verdict::Wanted(identity) => match (ours, live) {
                (Some(_), _) if kept.is_some() => {
                    Standing::Waiting(Wait::Finalizers(kept_by().unwrap_or_default()))
                }
                (Some(ours), Some(live)) => {
                    let output = decode::output(&live.value).unwrap();
                    self.equals(key, &stored.uid, identity, ours)?;
                    let identity = std::sync::Arc::clone(identity);
                    Standing::Granted { identity, output: output.name, uid: output.uid }
                }
                (_, Some(live)) => {
                    obstacles.insert(name);
                    let name = decode::output(&live.value).unwrap().name;
                    Standing::Refused { refusal: Refusal::OutputForeign { name }, remnant: Remnant::Nothing }
                }
                (_, None) => {
                    let what = format!("{key} is to have {} and has no output", identity.spiffe_id);
                    return Err(Violation { rule: "S5", what });
                }
            },
            other => panic!("an index of everything says {other:?}"),
        };
        self.status(key, &stored.value, &decision, &standing)
    }

    /// The whole spec, our labels and our annotations are as wanted; foreign ones may stand beside them.
    fn equals(&self, key: &BindingKey, uid: &str, identity: &Identity, live: &Stored) -> Verified {
        let uid = kleym_core::name::Uid::parse(uid).unwrap();
        let wanted = WantedOutput::of(&self.settings, key, Some(&uid), identity);
        let wanted = serde_json::to_value(encode::cluster_spiffe_id(&wanted)).unwrap();
        must(live.value["spec"] == wanted["spec"], "S5", || {
            format!("the output of {key} is {}\nbut is to be {}", live.value["spec"], wanted["spec"])
        })?;
        let metadata = &live.value["metadata"];
        for field in ["labels", "annotations"] {
            let all = wanted["metadata"][field].as_object().unwrap();
            let same = all.iter().all(|(key, value)| metadata[field].get(key) == Some(value));
            must(same, "S5", || format!("the output of {key} has the {field} {}", metadata[field]))?;
        }
        must(metadata.get("ownerReferences").is_none(), "S5", || format!("the output of {key} is owned"))
    }

    fn status(&self, key: &BindingKey, live: &Value, decision: &Decision, standing: &Standing) -> Verified {
        let generation = live["metadata"]["generation"].as_i64();
        let facts = status::report(&self.settings, key, generation, decision, standing).unwrap();
        let wanted = encode::status(&facts, None, self.server.wall());
        let wanted = masked(serde_json::to_value(wanted).unwrap());
        let found = masked(live["status"].clone());
        must(found == wanted, "S5", || format!("the status of {key} is {found}\nbut should be {wanted}"))?;
        let too_long = found["conditions"].as_array().into_iter().flatten();
        let too_long = too_long.filter(|c| c["message"].as_str().is_none_or(|text| text.len() > 1024));
        must(too_long.count() == 0, "wire", || format!("the status of {key} has too long a message"))
    }

    /// Who is refused for a conflict has an older peer that claims the same, and nobody else has one.
    fn conflicts(&self) -> Verified {
        let place = |key: &BindingKey| {
            let binding = self.index.binding(key).unwrap();
            (binding.created.unwrap(), key.name.to_string())
        };
        let rendering: Vec<(&BindingKey, &Identity, Vec<String>)> = self
            .index
            .bindings()
            .filter(|binding| !binding.deleting || binding.finalizer)
            .filter_map(|binding| {
                let identity = self.index.identity(&binding.key)?;
                let texts = identity.selectors.texts().map(str::to_owned).collect();
                Some((&binding.key, &**identity, texts))
            })
            .collect();
        for (key, identity, texts) in &rendering {
            let own = Claim { id: identity.spiffe_id.as_str(), items: texts, of: Some(identity) };
            let older = rendering.iter().find(|(peer, theirs, texts)| {
                let claim = Claim { id: theirs.spiffe_id.as_str(), items: texts, of: Some(theirs) };
                peer.namespace == key.namespace && place(peer) < place(key) && overlap(own, claim)
            });
            let refused = match self.index.verdict(key).verdict {
                Verdict::Refused(Refusal::Conflict(_)) => true,
                Verdict::Deleting => continue,
                _ => false,
            };
            must(refused == older.is_some(), "S5", || {
                format!("{key} is refused: {refused}; an older peer claims the same: {older:?}")
            })?;
        }
        Ok(())
    }

    /// No output is there that nobody asked for, and no two overlap.
    fn outputs(&self) -> Verified {
        let mut by_namespace: BTreeMap<&str, Vec<(&Place, &Stored)>> = BTreeMap::new();
        for (place, stored) in self.server.of_kind(Kind::Output) {
            let proofs = Proofs::of(&stored.value);
            let Some((namespace, name)) = proofs.complete(INSTANCE, &place.name) else { continue };
            if !self.config.serves(namespace) || stored.deleting {
                continue;
            }
            by_namespace.entry(namespace).or_default().push((place, stored));
            let binding = self.server.get(&Place::new(Kind::Binding, namespace, name));
            let lives = binding.is_some_and(|binding| Some(binding.uid.as_str()) == proofs.uid);
            must(lives, "S1", || format!("{} is an orphan", place.name))?;
        }
        for (namespace, outputs) in by_namespace {
            let claims: Vec<(&Place, &str, Vec<String>, Option<&Identity>)> = outputs
                .into_iter()
                .map(|(place, stored)| {
                    let (_, name) = Proofs::of(&stored.value).complete(INSTANCE, &place.name).unwrap();
                    let id = stored.value["spec"]["spiffeIDTemplate"].as_str().unwrap_or("");
                    let identity = self.index.identity(&key(namespace, name)).map(|identity| &**identity);
                    (place, id, items(&stored.value), identity)
                })
                .collect();
            for (nth, (place, id, items, of)) in claims.iter().enumerate() {
                for (other, their_id, their_items, theirs) in &claims[..nth] {
                    let a = Claim { id, items, of: *of };
                    let b = Claim { id: their_id, items: their_items, of: *theirs };
                    must(!overlap(a, b), "S4", || format!("{} and {} overlap", place.name, other.name))?;
                }
            }
        }
        Ok(())
    }
}

/// Bindings and outputs as they stand, without what differs from run to run.
pub(crate) type Snapshot = BTreeMap<Place, Value>;

/// The present state, masked so that two runs can be compared.
pub(crate) fn snapshot(server: &Server) -> Snapshot {
    let mut all = Snapshot::new();
    for kind in [Kind::Binding, Kind::Output] {
        for (place, stored) in server.of_kind(kind) {
            let mut object = Value::clone(&stored.value);
            let metadata = object["metadata"].as_object_mut().unwrap();
            for different in
                ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "generation"]
            {
                metadata.shift_remove(different);
            }
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.shift_remove("kleym.sonda.red/binding-uid");
            }
            metadata.insert("deleting".to_owned(), json!(stored.deleting));
            if kind == Kind::Binding {
                // A finalizer without an output stays until the binding is deleted, and nobody minds.
                metadata.shift_remove("finalizers");
                object["status"] = masked(object["status"].take());
                if let Some(uid) = object.pointer_mut("/status/renderedClusterSPIFFEID/uid") {
                    uid.take();
                }
            }
            all.insert(place.clone(), object);
        }
    }
    all
}

fn masked(mut status: Value) -> Value {
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(fields) = condition.as_object_mut() {
            fields.shift_remove("lastTransitionTime");
        }
    }
    status
}
