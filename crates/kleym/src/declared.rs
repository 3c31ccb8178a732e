//! From documents and live objects to facts: which objects are declared, which document declares each, what a cluster
//! holds beside them, and what is to be said of the files themselves. Files are laid over a cluster as applying them
//! would. Decides nothing about bindings: the index does.

use std::collections::{BTreeMap, BTreeSet};

use kleym_api::binding::{UnknownField, unknown_fields};
use kleym_api::decode::{self, DecodeError};
use kleym_core::fact::{Change, Fact, FactKey};
use kleym_core::index::Index;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace};
use kleym_core::output::Pairs;
use kleym_core::report::{self, Code, FieldPath, Finding, Place, Reference};
use kleym_core::settings::Settings;
use kleym_core::text::{Quoted, quoted_list};
use serde_json::Value;

use crate::source::cluster::{Found, Resource};
use crate::source::{self, Document, Files, Outlines, Problem, Spot};

/// What a cluster was found to hold, by resource.
pub(crate) type Live = BTreeMap<Resource, Found>;

/// A finding, and where it stands in the files.
#[derive(Debug)]
pub(crate) struct Told {
    /// What is said.
    pub(crate) finding: Finding,
    /// Where.
    pub(crate) at: Option<Spot>,
    /// What else is to be seen, and where.
    pub(crate) also: Vec<(String, Spot)>,
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
    /// How many objects of kinds that Kleym does not read, by what they are.
    pub(crate) ignored: BTreeMap<String, usize>,
    /// The bindings as they stand in the cluster, status and all.
    pub(crate) live: BTreeMap<BindingKey, Value>,
    /// What there is beside what the engine reads: outputs, pods, nodes, namespaces.
    beside: Live,
    /// The labels of the bindings.
    labels: BTreeMap<BindingKey, Pairs>,
    /// Whether a cluster was read.
    in_cluster: bool,
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
    field: FieldPath,
    also: Option<(&'static str, Origin)>,
}

impl Declared {
    /// Takes what stands in files; `home` is the namespace of objects that name none.
    pub(crate) fn read(files: Files, home: &Namespace, settings: Settings) -> Self {
        Self::gather(files, None, home, settings)
    }

    /// Takes what a cluster holds, with files laid over it: an object that is live keeps its uid and age, one that is
    /// not is newest.
    pub(crate) fn over(live: Live, files: Files, home: &Namespace, settings: Settings) -> Self {
        Self::gather(files, Some(live), home, settings)
    }

    fn gather(files: Files, live: Option<Live>, home: &Namespace, settings: Settings) -> Self {
        let mut gathered = Gathered::new(home);
        let mut problems = Vec::new();
        let mut parsed = Vec::new();
        for (id, file) in files.iter() {
            let unreadable = source::documents(id, file, |mut document| {
                let value = std::mem::take(&mut document.value);
                gathered.object(&value, &Origin { document: parsed.len(), path: FieldPath::default() });
                parsed.push(document);
            });
            problems.extend(unreadable.into_iter().map(|problem| (id, problem)));
        }
        let mut index = Index::new(settings);
        let Gathered { home: _, mut facts, declared, ignored, objections, labels, beside } = gathered;
        let mut declared = Self {
            files,
            documents: parsed.len(),
            ignored,
            live: BTreeMap::new(),
            beside: Live::new(),
            labels,
            in_cluster: live.is_some(),
            remarks: Vec::new(),
            index: Index::new(index.settings().clone()),
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
        declared
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

    /// Every namespace in which files declare something.
    pub(crate) fn namespaces(&self) -> BTreeSet<Namespace> {
        self.declared.keys().map(|key| key.namespace.clone()).collect()
    }

    /// The labels of a binding.
    pub(crate) fn labels(&self, binding: &BindingKey) -> Option<&Pairs> {
        self.labels.get(binding)
    }

    /// Adds something to be said of the reading itself.
    pub(crate) fn remark(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.remarks.extend(findings);
    }

    /// Everything there is to say, the most serious first: of the files, then of the bindings.
    pub(crate) fn told(&self) -> Vec<Told> {
        let mut outlines = Outlines::default();
        let unparsed = self.problems.iter().map(|(file, problem)| {
            let mut finding = Finding::new(Code::Unparsable, problem.message.clone());
            finding.hint.clone_from(&problem.hint);
            let at = Some(Spot { file: *file, range: problem.range.clone() });
            Told { finding, at, also: Vec::new() }
        });
        let mut told: Vec<Told> = unparsed.collect();
        for Objection { finding, at, field, also } in &self.objections {
            let also = also.iter().map(|(what, origin)| {
                ((*what).to_owned(), self.spot(&mut outlines, origin, &FieldPath::name()))
            });
            let also = also.collect();
            let at = Some(self.spot(&mut outlines, at, field));
            told.push(Told { finding: finding.clone(), at, also });
        }
        told.sort_by_key(|told| told.at.as_ref().map(|spot| (spot.file, spot.range.start)));
        told.extend(self.remarks.iter().cloned().map(|finding| Told { finding, at: None, also: Vec::new() }));
        let mut found = report::findings(&self.index);
        found.extend(report::references(&self.index, self.in_cluster));
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

/// What documents were found to declare so far.
struct Gathered<'a> {
    home: &'a Namespace,
    facts: BTreeMap<Kind, Vec<Fact>>,
    declared: BTreeMap<FactKey, Origin>,
    ignored: BTreeMap<String, usize>,
    objections: Vec<Objection>,
    labels: BTreeMap<BindingKey, Pairs>,
    beside: BTreeMap<Resource, Vec<Value>>,
}

impl<'a> Gathered<'a> {
    fn new(home: &'a Namespace) -> Self {
        Self {
            home,
            facts: BTreeMap::new(),
            declared: BTreeMap::new(),
            ignored: BTreeMap::new(),
            objections: Vec::new(),
            labels: BTreeMap::new(),
            beside: BTreeMap::new(),
        }
    }

    fn object(&mut self, object: &Value, origin: &Origin) {
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        let (Some(api_version), Some(kind_name)) = (text("apiVersion"), text("kind")) else {
            return self.ignore("documents that are no Kubernetes objects".to_owned());
        };
        if let (Some(element), Some(Value::Array(items))) =
            (kind_name.strip_suffix("List"), object.get("items"))
        {
            return self.list(api_version, element, items, origin);
        }
        if let Some(resource) = Resource::find(api_version, kind_name) {
            let object = self.at_home(resource, object);
            self.beside.entry(resource).or_default().push(object);
        }
        match decode::kind(object) {
            Some(Kind::Output) => self.ignore(in_words(api_version, kind_name)),
            Some(kind) => self.fact(kind, object, origin),
            None => match other_version(api_version, kind_name) {
                Some(kind) => self.unsupported(kind, api_version, object, origin),
                None => self.ignore(in_words(api_version, kind_name)),
            },
        }
    }

    /// The object, in the namespace where applying it would put it.
    fn at_home(&self, resource: Resource, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(Value::Object(metadata)) = object.get_mut("metadata").filter(|_| resource.namespaced()) {
            let named =
                metadata.get("namespace").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
            if !named {
                metadata.insert("namespace".to_owned(), self.home.as_str().into());
            }
        }
        object
    }

    /// The items of a List; those of a list of one kind need not say what they are.
    fn list(&mut self, api_version: &str, element: &str, items: &[Value], origin: &Origin) {
        for (index, item) in items.iter().enumerate() {
            let at =
                Origin { document: origin.document, path: origin.path.clone().field("items").item(index) };
            match item {
                Value::Object(fields) if !element.is_empty() && !fields.contains_key("kind") => {
                    let mut fields = fields.clone();
                    fields.insert("apiVersion".to_owned(), api_version.into());
                    fields.insert("kind".to_owned(), element.into());
                    self.object(&Value::Object(fields), &at);
                }
                item => self.object(item, &at),
            }
        }
    }

    fn fact(&mut self, kind: Kind, object: &Value, origin: &Origin) {
        let fact = match decode::fact_in(kind, object, self.home) {
            Ok(fact) => fact,
            Err(error) => return self.unnamed(kind, &error, origin),
        };
        let key = fact.key();
        if let Fact::Binding(binding) = &fact {
            self.labels.insert(binding.key.clone(), decode::Meta::of(object).labels());
            for unknown in unknown_fields(object) {
                self.unknown(&key, unknown, origin);
            }
        }
        // Of a fact given twice the index takes the last, as applying the files would.
        self.facts.entry(kind).or_default().push(fact);
        if let Some(first) = self.declared.insert(key.clone(), origin.clone()) {
            let reference = Reference::from(&key);
            let mut finding = Finding::new(Code::DeclaredTwice, format!("{reference} is declared twice"));
            finding.references = vec![reference];
            finding.hint =
                Some("remove one; here the last one counts, as if the files were applied".to_owned());
            let also = Some(("it is declared here too", first));
            self.objections.push(Objection { finding, at: origin.clone(), field: FieldPath::name(), also });
        }
    }

    fn unknown(&mut self, key: &FactKey, unknown: UnknownField, origin: &Origin) {
        let UnknownField { path, name, known } = unknown;
        let reference = Reference::from(key);
        let message = format!("{reference} has the unknown field {}", Quoted(&name));
        let mut finding = Finding::new(Code::UnknownField, message);
        finding.references = vec![reference];
        finding.note = Some(
            "kubectl refuses it by default; what other clients send, the API server drops without a word"
                .to_owned(),
        );
        finding.hint = Some(match known.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
            Some(meant) => format!("write `{meant}`"),
            None => format!("correct or remove it; what may stand there: {}", quoted_list(known)),
        });
        self.objections.push(Objection { finding, at: origin.clone(), field: path, also: None });
    }

    fn unnamed(&mut self, kind: Kind, error: &DecodeError, origin: &Origin) {
        let field = match error {
            DecodeError::Field { field, .. } => FieldPath::dotted(field),
            DecodeError::NotAnObject { .. } | DecodeError::NoFacts(_) => FieldPath::default(),
        };
        let finding = Finding::new(Code::Unnamed, format!("{} cannot be used: {error}", kind.kind()));
        self.objections.push(Objection { finding, at: origin.clone(), field, also: None });
    }

    fn unsupported(&mut self, kind: Kind, api_version: &str, object: &Value, origin: &Origin) {
        let name =
            decode::Meta::of(object).name().map(|name| format!(" {}", Quoted(name))).unwrap_or_default();
        let message =
            format!("{}{name} has the version {}, which is not read", kind.kind(), Quoted(api_version));
        let mut finding = Finding::new(Code::UnsupportedVersion, message);
        let known = Kind::ALL.into_iter().filter(|known| known.kind() == kind.kind());
        let known: Vec<String> = known.map(Kind::api_version).collect();
        finding.hint = Some(format!("what is read: {}", quoted_list(known.iter().map(String::as_str))));
        let field = FieldPath::dotted("apiVersion");
        self.objections.push(Objection { finding, at: origin.clone(), field, also: None });
    }

    fn ignore(&mut self, what: String) {
        *self.ignored.entry(what).or_default() += 1;
    }
}

/// The kind that Kleym reads in another version.
fn other_version(api_version: &str, kind_name: &str) -> Option<Kind> {
    let (group, _) = api_version.split_once('/')?;
    let same = |kind: &Kind| *kind != Kind::Output && kind.group() == group && kind.kind() == kind_name;
    Kind::ALL.into_iter().find(same)
}

fn in_words(api_version: &str, kind_name: &str) -> String {
    format!("{} ({})", Quoted(kind_name), Quoted(api_version)).replace('`', "")
}
