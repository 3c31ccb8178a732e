//! From documents and live objects to facts: which objects are declared, which document declares each, what a cluster
//! holds beside them, and what is to be said of the files themselves. Files are laid over a cluster as applying them
//! would. Decides nothing about bindings: the index does.

mod astray;
mod gathered;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use kleym_api::decode;
use kleym_core::fact::{Binding, Change, Fact, FactKey};
use kleym_core::index::{Index, Verdict};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace};
use kleym_core::output::{Pairs, WantedOutput};
use kleym_core::report::{Code, FieldPath, Finding, Place};
use kleym_core::settings::SettingsByNamespace;
use kleym_core::text::Quoted;
use serde_json::Value;

use self::gathered::Gathered;
use crate::source::cluster::{Found, Resource};
use crate::source::{self, Document, Files, Outlines, Problem, Spot};

/// What a cluster was found to hold, by resource.
pub(crate) type Live = BTreeMap<Resource, Found>;

/// A finding, and where it stands in the files.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// What is said.
    pub(crate) finding: Finding,
    /// Where.
    pub(crate) at: Option<Spot>,
    /// What else is to be seen, and where.
    pub(crate) also: Vec<(String, Spot)>,
}

impl Told {
    /// A finding that is shown by itself.
    pub(crate) fn alone(finding: Finding) -> Self {
        Self { finding, at: None, also: Vec::new() }
    }
}

/// Everything that files declare, or a cluster, or files laid over a cluster.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The files.
    pub(crate) files: Files,
    /// The engine, with every fact in it.
    pub(crate) index: Index,
    /// How many documents were read.
    pub(crate) documents: usize,
    /// How many objects of kinds that Kleym does not read, by what they are; none for what is no object.
    pub(crate) ignored: BTreeMap<Option<String>, usize>,
    /// The bindings as they stand in the cluster, status and all.
    pub(crate) live: BTreeMap<BindingKey, Value>,
    /// The bindings of files that have a status or are being deleted, as they are written.
    reported: BTreeMap<BindingKey, Value>,
    /// What there is beside what the engine reads: outputs, pods, nodes, namespaces.
    beside: Live,
    /// The labels of the bindings.
    labels: BTreeMap<BindingKey, Pairs>,
    /// Whether a cluster was read.
    pub(crate) in_cluster: bool,
    /// What is to be said of the reading itself.
    remarks: Vec<Finding>,
    parsed: Vec<Document>,
    declared: BTreeMap<FactKey, Origin>,
    problems: Vec<(source::FileId, Problem)>,
    objections: Vec<Objection>,
}

/// Where an object is declared: in which document, and where in that.
#[derive(Debug, Clone)]
struct Origin {
    document: usize,
    path: FieldPath,
}

/// What is wrong with the declaration of an object.
#[derive(Debug)]
struct Objection {
    finding: Finding,
    at: Origin,
    /// The field that shows it; none when it is no object that could have one.
    field: Option<FieldPath>,
    also: Option<(&'static str, Origin)>,
}

impl Declared {
    /// Takes what stands in files; `home` is the namespace of objects that name none.
    pub(crate) fn read(files: Files, home: &Namespace, settings: impl Into<SettingsByNamespace>) -> Self {
        let Ok(declared) = Self::gather(files, None, home, |_| Ok::<_, Infallible>(settings.into()));
        declared
    }

    /// Takes what stands in files; `settings` makes the settings of the bindings that have a status.
    ///
    /// # Errors
    /// Those of `settings`.
    pub(crate) fn settled<E>(
        files: Files,
        home: &Namespace,
        settings: impl FnOnce(&BTreeMap<BindingKey, Value>) -> Result<SettingsByNamespace, E>,
    ) -> Result<Self, E> {
        Self::gather(files, None, home, settings)
    }

    /// Takes what a cluster holds, with files laid over it: an object that is live keeps its uid and age, one that is
    /// not is newest.
    pub(crate) fn over(live: Live, files: Files, home: &Namespace, settings: SettingsByNamespace) -> Self {
        let Ok(declared) = Self::gather(files, Some(live), home, |_| Ok::<_, Infallible>(settings));
        declared
    }

    fn gather<E>(
        files: Files,
        live: Option<Live>,
        home: &Namespace,
        settings: impl FnOnce(&BTreeMap<BindingKey, Value>) -> Result<SettingsByNamespace, E>,
    ) -> Result<Self, E> {
        let mut gathered = Gathered::new(home);
        let mut problems = Vec::new();
        let mut parsed = Vec::new();
        for (id, file) in files.iter() {
            let unreadable = source::documents(id, file, |mut document| {
                let value = std::mem::take(&mut document.value);
                gathered.document(&value, &Origin { document: parsed.len(), path: FieldPath::default() });
                parsed.push(document);
            });
            gathered.end_of_file();
            problems.extend(unreadable.into_iter().map(|problem| (id, problem)));
        }
        let Gathered {
            home: _,
            mut facts,
            declared,
            ignored,
            objections,
            labels,
            reported,
            no_objects: _,
            beside,
        } = gathered;
        let mut index = Index::new(settings(&reported)?);
        let mut declared = Self {
            files,
            documents: parsed.len(),
            ignored,
            live: BTreeMap::new(),
            reported,
            beside: Live::new(),
            labels,
            in_cluster: live.is_some(),
            remarks: Vec::new(),
            index: Index::new(index.settings_by_namespace().clone()),
            parsed,
            declared,
            problems,
            objections,
        };
        let mut live = live.unwrap_or_default();
        // Bindings last, so that each is rendered once, with everything it needs there already.
        for kind in Kind::ALL.into_iter().rev().filter(|kind| *kind != Kind::Output) {
            let own = facts.remove(&kind).unwrap_or_default();
            if !declared.in_cluster {
                // Files are all there is, so every kind counts as listed, and what is not declared is not found.
                index.apply(Change::Listed(kind, own));
                continue;
            }
            match live.remove(&Resource::Kind(kind)).unwrap_or(Found::NotAsked) {
                Found::All(objects) => {
                    let all = declared.laid_over(kind, objects, own);
                    index.apply(Change::Listed(kind, all));
                }
                Found::Absent => {
                    index.apply(Change::Absent(kind));
                }
                Found::NotAsked => {
                    for fact in own {
                        index.apply(Change::Put(fact));
                    }
                }
                Found::Limited(limit) => {
                    for fact in own {
                        index.apply(Change::Put(fact));
                    }
                    index.apply(Change::Trouble(kind, Some(limit.trouble())));
                    declared.remarks.push(limit.finding());
                }
            }
        }
        index.apply(Change::Listed(Kind::Output, Vec::new()));
        declared.index = index;
        declared.lay_beside(live, beside);
        Ok(declared)
    }

    /// The facts of a kind: the live ones, and over them those of files.
    fn laid_over(&mut self, kind: Kind, objects: Vec<Value>, own: Vec<Fact>) -> Vec<Fact> {
        let mut facts: BTreeMap<FactKey, Fact> = BTreeMap::new();
        for object in objects {
            let fact = match decode::fact(kind, &object) {
                Ok(fact) => fact,
                Err(error) => {
                    let message = format!("{} of the cluster cannot be used: {error}", kind.kind());
                    self.remarks.push(Finding::new(Code::Unnamed, message));
                    continue;
                }
            };
            if let Fact::Binding(binding) = &fact {
                self.labels.entry(binding.key.clone()).or_insert_with(|| decode::Meta::of(&object).labels());
                self.live.insert(binding.key.clone(), object);
            }
            facts.insert(fact.key(), fact);
        }
        for mut fact in own {
            let key = fact.key();
            keep_identity(&mut fact, facts.get(&key));
            facts.insert(key, fact);
        }
        facts.into_values().collect()
    }

    /// What is beside the engine's kinds: live objects, and over them those of files.
    fn lay_beside(&mut self, live: Live, mut own: BTreeMap<Resource, Vec<Value>>) {
        for (resource, found) in live {
            let laid = match (found, own.remove(&resource)) {
                (Found::All(objects), Some(own)) => {
                    let name = |object: &Value| {
                        let meta = decode::Meta::of(object);
                        (meta.namespace().map(str::to_owned), meta.name().map(str::to_owned))
                    };
                    let mut all: BTreeMap<_, Value> =
                        objects.into_iter().map(|object| (name(&object), object)).collect();
                    all.extend(own.into_iter().map(|object| (name(&object), object)));
                    Found::All(all.into_values().collect())
                }
                (found, _) => found,
            };
            if let Found::Limited(limit) = &laid {
                self.remarks.push(limit.finding());
            }
            self.beside.insert(resource, laid);
        }
        for (resource, own) in own {
            self.beside.entry(resource).or_insert(Found::All(own));
        }
    }

    /// What there is of a resource beside what the engine reads.
    pub(crate) fn beside(&self, resource: Resource) -> &Found {
        self.beside.get(&resource).unwrap_or(&Found::NotAsked)
    }

    /// What was reported of a binding: by the cluster, or by the file that was made of one.
    pub(crate) fn status(&self, binding: &BindingKey) -> Option<&Value> {
        self.as_written(binding)?.get("status").filter(|status| !status.is_null())
    }

    /// A binding as the cluster has it, or the file that was made of one.
    pub(crate) fn as_written(&self, binding: &BindingKey) -> Option<&Value> {
        self.live.get(binding).or_else(|| self.reported.get(binding))
    }

    /// The outputs that bindings are to have, by namespace and name.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&Binding, WantedOutput)> {
        let index = &self.index;
        index.bindings().filter_map(move |binding| match index.verdict(&binding.key).verdict {
            Verdict::Wanted(identity) => {
                let settings = index.settings_in(&binding.key.namespace);
                Some((binding, WantedOutput::of(settings, &binding.key, binding.uid.as_ref(), &identity)))
            }
            Verdict::Gone | Verdict::Deleting | Verdict::Waiting(_) | Verdict::Refused(_) => None,
        })
    }

    /// Every namespace in which files declare something, or have a pod.
    pub(crate) fn namespaces(&self) -> BTreeSet<Namespace> {
        let pods = self.beside(Resource::Pods).items().iter();
        let of_pods = pods.filter_map(|pod| Namespace::parse(decode::Meta::of(pod).namespace()?).ok());
        self.declared.keys().map(|key| key.namespace.clone()).chain(of_pods).collect()
    }

    /// The bindings of files that have a status or are being deleted, as they are written.
    pub(crate) fn reported(&self) -> impl Iterator<Item = (&BindingKey, &Value)> {
        self.reported.iter()
    }

    /// The labels of a binding.
    pub(crate) fn labels(&self, binding: &BindingKey) -> Option<&Pairs> {
        self.labels.get(binding)
    }

    /// Adds something to be said of the reading itself.
    pub(crate) fn remark(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.remarks.extend(findings);
    }

    /// What is to be said of the reading itself, and what was found, the most serious first; of bindings only where they are
    /// among the chosen.
    pub(crate) fn told(&self, found: Vec<Finding>, chosen: impl Fn(&BindingKey) -> bool) -> Vec<Told> {
        let mut told = self.all_told(found);
        told.retain(|told| told.finding.about_binding().is_none_or(|binding| chosen(&binding)));
        told
    }

    fn all_told(&self, found: Vec<Finding>) -> Vec<Told> {
        let mut outlines = Outlines::default();
        let unparsed = self.problems.iter().map(|(file, problem)| {
            let mut finding = Finding::new(Code::Unparsable, problem.message.clone());
            finding.hint.clone_from(&problem.hint);
            let at = Some(Spot { file: *file, range: problem.range.clone() });
            Told { finding, at, also: Vec::new() }
        });
        let mut told: Vec<Told> = unparsed.collect();
        told.extend(self.files.not_read().map(|(file, name)| {
            let message =
                format!("{} is not read: an ending counts only in lower case, as for kubectl", Quoted(name));
            let finding = Finding::new(Code::FileNotRead, message).hint("rename it, or name it with -f");
            Told { finding, at: Some(Spot { file, range: 0..0 }), also: Vec::new() }
        }));
        for Objection { finding, at, field, also } in &self.objections {
            let also = also.iter().map(|(what, origin)| {
                ((*what).to_owned(), self.spot(&mut outlines, origin, &FieldPath::name()))
            });
            let also = also.collect();
            let at = match field {
                Some(field) => self.spot(&mut outlines, at, field),
                None => self.parsed[at.document].beginning(&self.files),
            };
            told.push(Told { finding: finding.clone(), at: Some(at), also });
        }
        told.sort_by_key(|told| told.at.as_ref().map(|spot| (spot.file, spot.range.start)));
        told.extend(self.remarks.iter().cloned().map(Told::alone));
        for mut finding in found {
            if !self.problems.is_empty() && is_not_found(finding.code) {
                finding.note = Some("a file that cannot be parsed may declare it".to_owned());
            }
            let at = finding.place.as_ref().and_then(|place| self.spot_of(&mut outlines, place));
            let also = finding.related.iter().filter_map(|related| {
                Some((related.what.clone(), self.spot_of(&mut outlines, &related.place)?))
            });
            let also = also.collect();
            told.push(Told { finding, at, also });
        }
        told.sort_by_key(|told| told.finding.severity());
        told
    }

    fn spot_of(&self, outlines: &mut Outlines, place: &Place) -> Option<Spot> {
        let origin = self.declared.get(&place.object)?;
        Some(self.spot(outlines, origin, &place.field))
    }

    fn spot(&self, outlines: &mut Outlines, origin: &Origin, field: &FieldPath) -> Spot {
        self.parsed[origin.document].spot(outlines, &self.files, &origin.path.clone().join(field))
    }
}

/// A document that is laid over a live object keeps what the API server decides: who it is, and how old. One that is not
/// live would be created, whatever its file says of it.
fn keep_identity(fact: &mut Fact, live: Option<&Fact>) {
    match (fact, live) {
        (Fact::Binding(binding), Some(Fact::Binding(live))) => {
            binding.uid.clone_from(&live.uid);
            binding.created = live.created;
            binding.generation = live.generation;
            binding.deleting = live.deleting;
            binding.finalizer = live.finalizer;
        }
        (Fact::Binding(binding), _) => {
            binding.uid = None;
            binding.created = None;
            binding.generation = None;
            binding.deleting = false;
            binding.finalizer = false;
        }
        (Fact::Objective(objective), live) => {
            objective.deleting = matches!(live, Some(Fact::Objective(live)) if live.deleting);
        }
        (Fact::Pool(pool), live) => pool.deleting = matches!(live, Some(Fact::Pool(live)) if live.deleting),
    }
}

fn is_not_found(code: Code) -> bool {
    matches!(code, Code::TargetObjectiveNotFound | Code::TargetPoolNotFound)
}
