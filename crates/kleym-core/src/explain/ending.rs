//! A binding that is being deleted: what holds it or its output, and what to do until it is gone.

use super::chain::{Evidence, Link, LinkKind};
use super::{Question, operator};
use crate::fact::Binding;
use crate::output::{FINALIZER, LiveOutput, Ownership};
use crate::report::{Code, FieldPath, Finding, binding_key};
use crate::text::{Quoted, quoted_list};

/// What `metadata` says of a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// `metadata.deletionTimestamp`, as it is written.
    pub timestamp: String,
    /// Whether it was asked for so long ago that whoever has a finalizer there does not work on it any more.
    pub long_ago: bool,
    /// `metadata.finalizers`
    pub finalizers: Vec<Finalizer>,
}

/// What keeps an object that is being deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finalizer {
    /// Its name.
    pub name: String,
    /// Who set it, by `metadata.managedFields`.
    pub manager: Option<String>,
    /// When, as it is written there.
    pub time: Option<String>,
}

const AGAIN: &str = "when the binding is gone, create it again if the identity is still wanted";

const KEEP_OURS: &str = "leave Kleym's finalizer on the binding, for without it the output stays, and grants, and nobody takes it away";

impl Finalizer {
    fn is_foreign(&self) -> bool {
        self.name != FINALIZER
    }

    /// ` (set by `vault` at 2026-10-30T01:00:04Z)`; nothing where nobody says.
    fn set_by(&self) -> String {
        let Some(manager) = &self.manager else { return String::new() };
        let at = self.time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
        format!(" (set by {}{at})", Quoted(manager))
    }
}

/// Finalizers, each with who set it.
fn with_setters<'a>(finalizers: impl IntoIterator<Item = &'a Finalizer>) -> String {
    let each = finalizers.into_iter().map(|one| format!("{}{}", Quoted(&one.name), one.set_by()));
    each.collect::<Vec<_>>().join(", ")
}

impl Deletion {
    fn foreign(&self) -> impl Iterator<Item = &Finalizer> {
        self.finalizers.iter().filter(|one| one.is_foreign())
    }

    /// The finalizers of others, each with who set it.
    fn holders(&self) -> String {
        with_setters(self.foreign())
    }

    /// Who can take them off.
    fn whose(&self) -> String {
        let mut managers: Vec<&str> = self.foreign().filter_map(|one| one.manager.as_deref()).collect();
        managers.dedup();
        if managers.is_empty() {
            return "whoever set it".to_owned();
        }
        quoted_list(managers)
    }

    /// What takes the finalizers of others off an object, and no other: the last one first, each only where it still stands.
    fn patch(&self, kind: &str, name: &str, namespace: Option<&str>) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        // What no API server would take does not go into a command either.
        if self.foreign().any(|one| !one.name.chars().all(plain)) {
            return format!("take it out of `metadata.finalizers` of {kind} {}", Quoted(name));
        }
        let foreign = self.finalizers.iter().enumerate().filter(|(_, one)| one.is_foreign());
        let steps: Vec<String> = foreign
            .rev()
            .map(|(place, one)| {
                format!(
                    r#"{{"op":"test","path":"/metadata/finalizers/{place}","value":"{}"}},{{"op":"remove","path":"/metadata/finalizers/{place}"}}"#,
                    one.name
                )
            })
            .collect();
        let namespace = namespace.map(|name| format!(" -n {name}")).unwrap_or_default();
        format!("`kubectl patch {kind} {name}{namespace} --type=json -p '[{}]'`", steps.join(","))
    }

    fn read(&self, object: &str) -> Vec<Evidence> {
        let mut read = Vec::new();
        if !self.timestamp.is_empty() {
            read.push(Evidence::new(object, "metadata.deletionTimestamp", self.timestamp.as_str()));
        }
        if !self.finalizers.is_empty() {
            read.push(read_finalizers(object, &self.finalizers));
        }
        read
    }
}

fn read_finalizers(object: &str, finalizers: &[Finalizer]) -> Evidence {
    let whose = |one: &Finalizer| match one.is_foreign() {
        false => format!("{} (Kleym's)", one.name),
        true => {
            let set = one.set_by().replace(" (", "; ").replace(['`', ')'], "");
            format!("{} (not Kleym's{set})", one.name)
        }
    };
    let finalizers: Vec<String> = finalizers.iter().map(whose).collect();
    Evidence::new(object, "metadata.finalizers", finalizers.join(", "))
}

/// The output of a binding that is being deleted, which is being deleted too and held by somebody else.
fn held<'a>(question: &Question<'a>, live: &'a LiveOutput) -> Option<Deletion> {
    (question.output_deletion)(&live.name).filter(|deletion| deletion.foreign().next().is_some())
}

/// The finalizers on an output that is not being deleted yet: once it is, they keep it.
fn kept(question: &Question<'_>, live: &LiveOutput) -> Option<Vec<Finalizer>> {
    let made = (question.made)(&live.name).map(|made| made.finalizers).unwrap_or_default();
    let set_by = |name: &str| made.iter().find(|one| one.name == name).cloned();
    let plain = |name: &str| Finalizer { name: name.to_owned(), ..Finalizer::default() };
    let all = live.finalizers.iter().map(|name| set_by(name).unwrap_or_else(|| plain(name)));
    let all: Vec<Finalizer> = all.filter(Finalizer::is_foreign).collect();
    (!all.is_empty()).then_some(all)
}

/// What is next in the way, once what is told first is mended.
fn behind<'a>(object: &str, finalizers: impl Iterator<Item = &'a Finalizer>) -> String {
    let finalizers: Vec<&Finalizer> = finalizers.collect();
    let (noun, are, owner, them) = match finalizers.len() {
        1 => ("finalizer", "is", "its owner", "it"),
        _ => ("finalizers", "are", "their owners", "them"),
    };
    let finalizers = with_setters(finalizers);
    format!(
        "behind it: {object} has {noun} {finalizers}, which {are} not Kleym's: {owner} must release {them}"
    )
}

/// The binding's link, at which the chain ends.
pub(super) fn link(question: &Question<'_>, binding: &Binding) -> Link {
    let key = binding_key(&binding.key);
    let deletion = (question.deletion)(&binding.key).unwrap_or_default();
    let ours = question.scene.whose(binding).filter(|(_, ownership)| *ownership == Ownership::Ours);
    let ours = ours.map(|(live, _)| live);
    let held = ours.and_then(|live| Some((live, held(question, live)?)));
    let (code, message, hint, of_output) = match (&held, ours) {
        (Some((live, of_output)), _) => {
            let (message, hint) = of_a_held_output(question, binding, live, of_output);
            let code = if of_output.long_ago { Code::DeletionHeld } else { Code::BindingDeleting };
            (code, message, hint, of_output.read(&format!("ClusterSPIFFEID {}", live.name)))
        }
        (None, still) => {
            let by_others = deletion.foreign().next().is_some();
            let (gone, hint) = (still.is_none(), of_a_held_binding(binding, &deletion));
            let long_ago = by_others && gone && deletion.long_ago;
            let code = if long_ago { Code::DeletionHeld } else { Code::BindingDeleting };
            let message = match still {
                Some(live) => format!(
                    "`{}` is being deleted, and its output {} is still there: it {} until it is withdrawn",
                    binding.key,
                    Quoted(live.name.as_str()),
                    grants(live)
                ),
                None if by_others => format!(
                    "`{}` is being deleted and its identity is withdrawn, but it cannot go: {} keeps it, which is not Kleym's",
                    binding.key,
                    deletion.holders()
                ),
                None => format!("`{}` is being deleted, so its identity is withdrawn", binding.key),
            };
            (code, message, hint, Vec::new())
        }
    };
    // The operator is what lets go of it, where nobody else holds it, and what withdraws the output before anybody can.
    let own = deletion.finalizers.iter().any(|one| !one.is_foreign());
    let by_others = deletion.foreign().next().is_some();
    let its_turn = own && held.is_none() && (ours.is_some() || !by_others);
    let idle = if its_turn { operator::at_rest(question, &binding.key.namespace) } else { None };
    let of_binding = format!("InferenceIdentityBinding {}", Quoted(&binding.key.to_string()));
    // What is told first may be of the binding's own finalizers already.
    let told = held.is_none() && idle.is_none();
    let then = (!told && by_others).then(|| behind(&of_binding, deletion.foreign()));
    let waiting = ours.filter(|_| held.is_none()).and_then(|live| Some((live, kept(question, live)?)));
    let (seen, hint) = match idle {
        Some(idle) => (idle.read, format!("{}; {KEEP_OURS}; {AGAIN}", idle.hint)),
        None => (Vec::new(), hint),
    };
    let mut finding = Finding::new(code, message)
        .about(&key)
        .at(key, FieldPath::dotted("metadata.deletionTimestamp"))
        .hint(hint);
    let notes = [
        held.as_ref().and_then(|(live, of_output)| {
            also_held(question, live, &of_output.foreign().collect::<Vec<_>>())
        }),
        waiting.as_ref().map(|(live, finalizers)| {
            let object = format!("ClusterSPIFFEID {}", Quoted(live.name.as_str()));
            let others = also_held(question, live, &finalizers.iter().collect::<Vec<_>>());
            behind(&object, finalizers.iter())
                + &others.map(|others| format!("; {others}")).unwrap_or_default()
        }),
        then,
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    finding.note = (!notes.is_empty()).then(|| notes.join("; "));
    let object = format!("InferenceIdentityBinding {}", binding.key);
    let mut read = of_output;
    read.extend(
        waiting
            .as_ref()
            .map(|(live, finalizers)| read_finalizers(&format!("ClusterSPIFFEID {}", live.name), finalizers)),
    );
    if let Some((live, _)) = held.as_ref().filter(|(live, _)| live.selects_nothing()) {
        let what = "kubernetes.io/metadata.name=withdrawn.kleym.sonda.red (matches none)";
        read.push(Evidence::new(format!("ClusterSPIFFEID {}", live.name), "spec.namespaceSelector", what));
    }
    read.extend(deletion.read(&object));
    let status = (question.status)(&binding.key);
    read.extend(status.map(|status| {
        // Nobody reports that an identity is granted once it is withdrawn.
        let before = if status.ready == "True" { " (from before the deletion)" } else { "" };
        let value = format!("{} {}{before}", status.ready, status.reason);
        Evidence::new(object, "status.conditions[Ready]", value)
    }));
    Link::ends(LinkKind::Binding, finding).read(read).read(seen)
}

/// What an output that is still there means for the pods.
fn grants(live: &LiveOutput) -> String {
    match live.selects_nothing() {
        true => "selects nothing any more, and stays".to_owned(),
        false => format!("grants {}", Quoted(&live.spec.spiffe_id)),
    }
}

/// What is wrong where somebody else's finalizer keeps the output, and what to do.
fn of_a_held_output(
    question: &Question<'_>,
    binding: &Binding,
    live: &LiveOutput,
    deletion: &Deletion,
) -> (String, String) {
    let name = live.name.as_str();
    let is = match live.selects_nothing() {
        true => "its identity is withdrawn (the output selects nothing any more)".to_owned(),
        false => format!("it still grants {}", Quoted(&live.spec.spiffe_id)),
    };
    let message = format!(
        "`{}` is being deleted, and its output {} cannot go: {} keeps it, which is not Kleym's; {is}",
        binding.key,
        Quoted(name),
        deletion.holders()
    );
    let object = format!("ClusterSPIFFEID {}", Quoted(name));
    let patch = deletion.patch("clusterspiffeid", name, None);
    let against = if question.live { "" } else { ", against the cluster" };
    let hint = format!(
        "let {} take its finalizer off {object}; if nobody will: {patch}{against}; leave the binding's own finalizer alone, for Kleym takes that off by itself then; {AGAIN}",
        deletion.whose()
    );
    (message, hint)
}

/// What to do about a binding that does not go, where its output is not what is held.
fn of_a_held_binding(binding: &Binding, deletion: &Deletion) -> String {
    let foreign: Vec<&str> = deletion.foreign().map(|one| one.name.as_str()).collect();
    match (deletion.finalizers.is_empty(), foreign.as_slice()) {
        (true, _) => format!("nothing seems to hold it: see that it goes; {AGAIN}"),
        (false, []) => format!(
            "see that kleym-operator runs and leads (`kleym check`), for it has not let go of the binding yet; {AGAIN}"
        ),
        (false, foreign) => format!(
            "it stays until {} {} removed: let {} do that, or, if nobody will: {}; {AGAIN}",
            quoted_list(foreign.iter().copied()),
            if foreign.len() == 1 { "is" } else { "are" },
            deletion.whose(),
            deletion.patch("iib", binding.key.name.as_str(), Some(binding.key.namespace.as_str())),
        ),
    }
}

/// That other outputs will be held likewise once they are deleted.
fn also_held(question: &Question<'_>, live: &LiveOutput, by: &[&Finalizer]) -> Option<String> {
    let others = question.scene.outputs?.iter().filter(|other| other.name != live.name);
    let held = |other: &&LiveOutput| {
        let carries = |one: &Finalizer| other.finalizers.iter().any(|name| **name == *one.name);
        other.wears_our_label() && by.iter().copied().any(carries)
    };
    match others.filter(held).count() {
        0 => None,
        1 => Some("another output carries it too, and will be held when it is deleted".to_owned()),
        number => {
            Some(format!("{number} other outputs carry it too, and will be held when they are deleted"))
        }
    }
}
