//! What must hold of every request when it is sent, and of every write when it happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::output::{FINALIZER, WantedOutput};
use kleym_core::plan::Step;
use kleym_core::render::Identity;
use kleym_operator::perform::{Action, Call};
use serde_json::Value;

use super::rules::{Claim, Proofs, Whose, apart, is_neutral, items, overlap_in_passing};
use super::{Verified, Violation, must};
use crate::deed::Config;
use crate::objects::{INSTANCE, output_of};
use crate::seen::Seen;
use crate::server::{Server, Stored, Writer, finalizers};
use crate::wire::{Request, Verb};

/// Checks a call that is about to be sent; answers the identity that it writes, if it writes one.
pub(crate) fn issued(
    seen: &Seen,
    config: &Config,
    call: &Call,
    request: &Request,
) -> Result<Option<Arc<Identity>>, Violation> {
    if let Some(fault) = request.fault() {
        return Err(Violation { rule: "wire", what: fault.to_owned() });
    }
    let (Action::Step(Step::CreateOutput(wanted)) | Action::Step(Step::ReplaceOutput(wanted))) = &call.action
    else {
        return Ok(None);
    };
    let Verdict::Wanted(identity) = seen.verdict(&call.key) else {
        let verdict = seen.verdict(&call.key);
        let what = format!("{} gets an output, but as far as was told it is {verdict:?}", call.key);
        return Err(Violation { rule: "S3", what });
    };
    let uid = seen.uid(&call.key);
    let render = WantedOutput::of(&config.settings(), &call.key, uid, &identity);
    must(render == **wanted, "S3", || {
        format!("{} gets {wanted:?}\nbut as far as was told it is to have {render:?}", call.key)
    })?;
    Ok(Some(identity))
}

/// An output says what it says: no template, and pinned to its namespace or to none.
fn literal(body: &Value, namespace: &str) -> Verified {
    let spec = &body["spec"];
    let pin = spec["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"].as_str();
    must(pin == Some(namespace) || is_neutral(body), "S3", || {
        format!("an output of {namespace} is not pinned")
    })?;
    must(!spec.to_string().trim_start_matches('{').contains("{{"), "S3", || format!("a template: {spec}"))?;
    let of_namespace = format!("k8s:ns:{namespace}");
    must(items(body).contains(&of_namespace) || is_neutral(body), "S3", || {
        format!("an output of {namespace} without {of_namespace}")
    })
}

/// A request that changed something.
pub(crate) struct Commit<'a> {
    /// The call.
    pub(crate) call: &'a Call,
    /// Its request, as it was meant.
    pub(crate) request: &'a Request,
    /// The body that arrived.
    pub(crate) after: &'a Value,
    /// The identity that it wrote.
    pub(crate) identity: Option<&'a Identity>,
    /// Whether it landed late.
    pub(crate) writer: Writer,
    /// The object before.
    pub(crate) before: Option<&'a Stored>,
    /// Versions of outputs, by uid, that the operator had seen when it sent the request.
    pub(crate) known: &'a [(String, u64)],
    /// The identities that the namespace's other bindings had had, as far as the operator was told then, by output.
    pub(crate) neighbours: &'a BTreeMap<String, Vec<Arc<Identity>>>,
    /// The version, by uid, at which a binding last lost the finalizer by a hand, or by who does not lead any more.
    pub(crate) stripped: &'a BTreeMap<String, u64>,
}

impl Commit<'_> {
    /// Whether this version had been seen when the request was sent.
    fn knew(&self, stored: &Stored) -> bool {
        self.known.iter().any(|(uid, version)| *uid == stored.uid && *version >= stored.version)
    }
}

/// Checks a write after it happened.
pub(crate) fn committed(server: &Server, commit: &Commit<'_>) -> Verified {
    match (commit.request.kind, commit.request.verb) {
        (Kind::Binding, Verb::PatchFinalizers) => released(server, commit),
        (Kind::Output, Verb::Delete) => not_foreign(commit),
        (Kind::Output, Verb::Replace) => {
            literal(commit.after, commit.call.key.namespace.as_str())?;
            not_foreign(commit)?;
            no_orphan(commit)?;
            same_class(commit)?;
            foreign_metadata_stays(commit)?;
            beside_nobody(server, commit)
        }
        (Kind::Output, Verb::Create) => {
            literal(commit.after, commit.call.key.namespace.as_str())?;
            held(server, commit)?;
            beside_nobody(server, commit)
        }
        _ => Ok(()),
    }
}

/// S1: a finalizer goes only when no output with that binding's uid exists then.
fn released(server: &Server, commit: &Commit<'_>) -> Verified {
    let Some(before) = commit.before else { return Ok(()) };
    let holds = |object: &Value| finalizers(object).any(|finalizer| finalizer == FINALIZER);
    if !holds(&before.value) || holds(&commit.request.body) {
        return Ok(());
    }
    must(before.deleting, "S1", || {
        "the finalizer of a binding that is not being deleted is removed".to_owned()
    })?;
    let key = &commit.call.key;
    for (place, output) in server.of_kind(Kind::Output) {
        let own = place.name == output_of(key.namespace.as_str(), key.name.as_str());
        let proofs = Proofs::of(&output.value);
        let with_uid = proofs.uid == Some(&before.uid) && proofs.whose(key, &before.uid) == Whose::Ours;
        // Who does not lead any more cannot know what was written since, nor the other way round.
        let late = output.writer != Writer::Operator || commit.writer == Writer::Late;
        let excused = late && !commit.knew(output);
        must(!own || !with_uid || excused, "S1", || {
            format!("the finalizer of {key} is removed while its output {} is there", place.name)
        })?;
    }
    Ok(())
}

/// S2: what is foreign is not changed. What was stripped of its proofs after the operator last saw it is excused.
fn not_foreign(commit: &Commit<'_>) -> Verified {
    let Some(before) = commit.before else { return Ok(()) };
    let key = &commit.call.key;
    let proofs = Proofs::of(&before.value);
    let ours = match &commit.call.binding {
        Some(binding) => proofs.whose(key, binding.uid.as_str()) != Whose::Foreign,
        None => proofs.complete(INSTANCE, &commit.request.name).is_some(),
    };
    let excused = before.by_operator && !commit.knew(before);
    must(ours || excused, "S2", || {
        format!("a foreign object is changed: {:?} of {}", commit.request.verb, commit.request.name)
    })
}

/// An orphan is deleted, never taken over.
fn no_orphan(commit: &Commit<'_>) -> Verified {
    let (Some(before), Some(binding), Some(_)) = (commit.before, &commit.call.binding, commit.identity)
    else {
        return Ok(());
    };
    let whose = Proofs::of(&before.value).whose(&commit.call.key, binding.uid.as_str());
    must(whose != Whose::Orphan, "order", || format!("an orphan is taken over: {}", commit.request.name))
}

/// Labels, annotations and finalizers that are not ours outlast a replace.
fn foreign_metadata_stays(commit: &Commit<'_>) -> Verified {
    let Some(before) = commit.before else { return Ok(()) };
    let ours = |key: &str| key.starts_with("kleym.sonda.red/") || key.starts_with("spire.spiffe.io/");
    for field in ["labels", "annotations"] {
        for (key, value) in before.value["metadata"][field].as_object().into_iter().flatten() {
            let stays = commit.after["metadata"][field].get(key) == Some(value);
            must(ours(key) || stays, "S2", || format!("{} loses {field} {key}", commit.request.name))?;
        }
    }
    let kept = |finalizer: &str| finalizers(commit.after).any(|other| other == finalizer);
    must(before.finalizers().all(kept), "S2", || format!("{} loses a finalizer", commit.request.name))
}

/// A class change is delete and create, never a replace.
fn same_class(commit: &Commit<'_>) -> Verified {
    let Some(before) = commit.before else { return Ok(()) };
    let class = |object: &Value| object["spec"].get("className").cloned();
    must(class(&before.value) == class(&commit.request.body), "order", || {
        format!("{} changes its class in place", commit.request.name)
    })
}

/// The finalizer stands before the output is created. What lands late is excused, because nobody could hold it back; and
/// what was sent before it could be seen that somebody else took the finalizer off.
fn held(server: &Server, commit: &Commit<'_>) -> Verified {
    if commit.writer == Writer::Late {
        return Ok(());
    }
    let key = &commit.call.key;
    let Some(binding) = &commit.call.binding else {
        return Err(Violation { rule: "order", what: format!("{key} gets an output without being there") });
    };
    let place = crate::server::Place::new(Kind::Binding, key.namespace.as_str(), key.name.as_str());
    let Some(stored) = server.get(&place).filter(|stored| stored.uid == binding.uid.as_str()) else {
        return Ok(());
    };
    let holds = stored.finalizers().any(|finalizer| finalizer == FINALIZER);
    let seen: Option<u64> = binding.resource_version.parse().ok();
    let lost_since =
        commit.stripped.get(&stored.uid).is_some_and(|lost| seen.is_none_or(|seen| seen < *lost));
    must(holds || lost_since, "order", || format!("{key} gets an output without a finalizer"))
}

/// S4: nothing is written beside a live output that it overlaps. Outputs that a hand or a late request wrote count once
/// the operator has seen them; what lands late itself is excused, because nobody could hold it back.
fn beside_nobody(server: &Server, commit: &Commit<'_>) -> Verified {
    let (Some(identity), Writer::Operator) = (commit.identity, commit.writer) else { return Ok(()) };
    let texts: Vec<String> = identity.selectors.texts().map(str::to_owned).collect();
    let wanted = Claim { id: identity.spiffe_id.as_str(), items: &texts, of: Some(identity) };
    for (place, other) in server.of_kind(Kind::Output) {
        let proofs = Proofs::of(&other.value);
        let Some((namespace, _)) = proofs.complete(INSTANCE, &place.name) else { continue };
        let beside = namespace == commit.call.key.namespace.as_str() && place.name != commit.request.name;
        let counts = other.writer == Writer::Operator || commit.knew(other);
        if !beside || !counts || is_neutral(&other.value) {
            continue;
        }
        let selectors = items(&other.value);
        let id = other.value["spec"]["spiffeIDTemplate"].as_str().unwrap_or("");
        // The same words can be of several identities: the one that was meant when they were written, and one that the
        // binding got later, when nothing had to be written for it.
        let had = commit.neighbours.get(&place.name).into_iter().flatten();
        let is_of = |identity: &&Arc<Identity>| {
            identity.spiffe_id.as_str() == id
                && identity.selectors.texts().eq(selectors.iter().map(String::as_str))
        };
        let known: Vec<&Arc<Identity>> =
            other.identity.iter().chain(had).filter(|identity| is_of(identity)).collect();
        let claim = |of| Claim { id, items: &selectors, of };
        // What a hand has changed nobody knows the subject of. It is taken to be its binding's, where that has the same
        // SPIFFE ID for the same subject and no workload can match both.
        let present = commit.neighbours.get(&place.name).and_then(|had| had.last());
        let of_one_subject =
            present.is_some_and(|p| p.spiffe_id == identity.spiffe_id && p.subject == identity.subject);
        let taken_for_its_subject = of_one_subject
            && id.eq_ignore_ascii_case(identity.spiffe_id.as_str())
            && apart(&texts, &selectors);
        let clash = if known.is_empty() {
            !taken_for_its_subject && overlap_in_passing(wanted, claim(None))
        } else {
            known.iter().all(|identity| overlap_in_passing(wanted, claim(Some(identity))))
        };
        must(!clash, "S4", || {
            format!(
                "{} is given {} with {texts:?} while {} grants {id} with {selectors:?}",
                commit.call.key, identity.spiffe_id, place.name
            )
        })?;
    }
    Ok(())
}
