//! What documents declare, object by object: facts, what stands beside them, and what is wrong with how they are declared.
//! Decides nothing about bindings.

use std::collections::BTreeMap;

use kleym_api::binding::{UnknownField, unknown_fields};
use kleym_api::decode::{self, DecodeError};
use kleym_core::fact::{Fact, FactKey, ValueProblem};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace};
use kleym_core::output::Pairs;
use kleym_core::report::{Code, FieldPath, Finding, Reference};
use kleym_core::text::{Quoted, quoted_list};
use serde_json::Value;

use super::astray::{Astray, astray, nearest};
use super::{Objection, Origin};
use crate::agents;
use crate::deployment::is_operator;
use crate::source::cluster::Resource;

/// What documents were found to declare so far.
pub(super) struct Gathered<'a> {
    /// The namespace of objects that name none.
    pub(super) home: &'a Namespace,
    /// The facts, in the order in which they are declared.
    pub(super) facts: BTreeMap<Kind, Vec<Fact>>,
    /// Where each is declared first.
    pub(super) declared: BTreeMap<FactKey, Origin>,
    /// How many objects of kinds that Kleym does not read, by what they are; none for what is no object.
    pub(super) ignored: BTreeMap<Option<String>, usize>,
    /// What is wrong with declarations.
    pub(super) objections: Vec<Objection>,
    /// The labels of the bindings.
    pub(super) labels: BTreeMap<BindingKey, Pairs>,
    /// The bindings that were in a cluster, for they have a status or are being deleted, as they are written.
    pub(super) reported: BTreeMap<BindingKey, Value>,
    /// Documents of the file at hand that are no objects, and what they are.
    pub(super) no_objects: Vec<(Origin, &'static str)>,
    /// What is beside the engine's kinds.
    pub(super) beside: BTreeMap<Resource, Vec<Value>>,
}

impl<'a> Gathered<'a> {
    /// Nothing yet.
    pub(super) fn new(home: &'a Namespace) -> Self {
        Self {
            home,
            facts: BTreeMap::new(),
            declared: BTreeMap::new(),
            ignored: BTreeMap::new(),
            objections: Vec::new(),
            labels: BTreeMap::new(),
            reported: BTreeMap::new(),
            no_objects: Vec::new(),
            beside: BTreeMap::new(),
        }
    }

    /// Takes one document of a file.
    pub(super) fn document(&mut self, value: &Value, origin: &Origin) {
        let what = match value {
            Value::Object(_) => return self.object(value, origin),
            // A document of comments alone is nothing.
            Value::Null => return self.ignore(None),
            Value::Array(_) => "a list",
            Value::String(_) => "a text",
            Value::Number(_) => "a number",
            Value::Bool(_) => "a truth value",
        };
        self.ignore(None);
        self.no_objects.push((origin.clone(), what));
    }

    /// Ends a file: what is no object is told once, for it may be a file of something else altogether.
    pub(super) fn end_of_file(&mut self) {
        let several = self.no_objects.len();
        let Some((at, what)) = self.no_objects.drain(..).next() else { return };
        let mut finding = Finding::new(Code::NoObject, format!("the document is {what}, and no object"));
        finding.note = (several > 1).then(|| match several - 1 {
            1 => "so is another one of this file".to_owned(),
            more => format!("so are {more} more of this file"),
        });
        let hint = match what {
            "a list" => "write each object as a document of its own, or all of them below `items` of a List",
            _ => "write an object, or leave the file out",
        };
        let finding = finding.hint(hint);
        self.objections.push(Objection { finding, at, field: None, also: None });
    }

    /// Takes one object.
    fn object(&mut self, object: &Value, origin: &Origin) {
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        let (api_version, kind_name) = (text("apiVersion"), text("kind"));
        if let Some(astray) = astray(api_version, kind_name) {
            return self.astray(astray, object, origin);
        }
        let (Some(api_version), Some(kind_name)) = (api_version, kind_name) else {
            return self.ignore(None);
        };
        if let Some(element) = kind_name.strip_suffix("List") {
            match object.get("items") {
                Some(Value::Array(items)) => return self.list(api_version, element, items, origin),
                _ if element.is_empty() => return self.no_items(object, origin),
                _ => {}
            }
        }
        // Of Deployments only an operator's says anything here, and of DaemonSets that of SPIRE's agent.
        let read = |resource: &Resource| match resource {
            Resource::Deployments => is_operator(object),
            Resource::DaemonSets => agents::starts_agents(object),
            _ => true,
        };
        if let Some(resource) = Resource::find(api_version, kind_name).filter(read) {
            let object = self.at_home(resource, object);
            self.beside.entry(resource).or_default().push(object);
        }
        match decode::kind(object) {
            Some(Kind::Output) => self.ignore(Some(in_words(api_version, kind_name))),
            Some(kind) => self.fact(kind, object, origin),
            None => match other_version(kind_name) {
                Some(kind) => self.unsupported(kind, api_version, object, origin),
                None => self.ignore(Some(in_words(api_version, kind_name))),
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
                item if is_object(item) => self.object(item, &at),
                item => self.bad_item(item, index, at),
            }
        }
    }

    /// An item that says of itself neither what it is nor of which version.
    fn bad_item(&mut self, item: &Value, index: usize, at: Origin) {
        let lacks = |field: &str| item.get(field).is_none_or(|value| !value.is_string());
        let why = match item {
            Value::Object(_) if lacks("kind") => "has no `kind`",
            Value::Object(_) => "has no `apiVersion`",
            _ => "is no object",
        };
        let finding = Finding::new(Code::BadList, format!("item {} of the List {why}", index + 1))
            .hint("correct or remove it: `kubectl apply` refuses the whole List");
        self.objections.push(Objection { finding, at, field: Some(FieldPath::default()), also: None });
    }

    fn no_items(&mut self, object: &Value, origin: &Origin) {
        let (why, field) = match object.get("items") {
            None | Some(Value::Null) => ("has no `items`", "kind"),
            Some(_) => ("has `items` that are no list", "items"),
        };
        let finding = Finding::new(Code::BadList, format!("the List {why}"))
            .hint("write the objects below `items`, each with its `-`");
        let field = FieldPath::dotted(field);
        self.objections.push(Objection { finding, at: origin.clone(), field: Some(field), also: None });
    }

    fn astray(&mut self, astray: Astray, object: &Value, origin: &Origin) {
        let Astray { what, field, write } = astray;
        let name =
            decode::Meta::of(object).name().map(|name| format!(", of {}", Quoted(name))).unwrap_or_default();
        let finding = Finding::new(Code::UnknownKind, format!("{what}{name}"))
            .hint(format!("write `{field}: {write}`"));
        // A field that is not there is shown where it would have to stand.
        let field = if object.get(field).is_some() { FieldPath::dotted(field) } else { FieldPath::default() };
        self.objections.push(Objection { finding, at: origin.clone(), field: Some(field), also: None });
    }

    fn fact(&mut self, kind: Kind, object: &Value, origin: &Origin) {
        let fact = match decode::fact_in(kind, object, self.home) {
            Ok(fact) => fact,
            Err(error) => return self.unnamed(kind, object, &error, origin),
        };
        let key = fact.key();
        if let Fact::Binding(binding) = &fact {
            self.labels.insert(binding.key.clone(), decode::Meta::of(object).labels());
            let there = |pointer| object.pointer(pointer).is_some_and(|value: &Value| !value.is_null());
            if there("/status") || there("/metadata/deletionTimestamp") {
                self.reported.insert(binding.key.clone(), object.clone());
            }
            for unknown in unknown_fields(object) {
                self.unknown(&key, unknown, origin);
            }
            self.unreadable_metadata(&key, object, origin);
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
            self.objections.push(Objection {
                finding,
                at: origin.clone(),
                field: Some(FieldPath::name()),
                also,
            });
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
        finding.hint = Some(match nearest(&name, &known) {
            Some(meant) => format!("write `{meant}`"),
            None => format!("correct or remove it; what may stand there: {}", quoted_list(known)),
        });
        self.objections.push(Objection { finding, at: origin.clone(), field: Some(path), also: None });
    }

    /// What the API server writes into metadata and the engine reads, when it cannot be read.
    fn unreadable_metadata(&mut self, key: &FactKey, object: &Value, origin: &Origin) {
        let meta = decode::Meta::of(object);
        let reference = Reference::from(key);
        let fields = [
            (
                "uid",
                meta.uid().is_some(),
                "is none that an API server gives, so its output is not bound to it",
                "remove it, or write the one that the API server gave".to_owned(),
            ),
            (
                "creationTimestamp",
                meta.created().is_some(),
                "is no RFC 3339 time, so it counts as the newest",
                "remove it, or write it as the API server does: `2026-01-31T12:00:00Z`".to_owned(),
            ),
        ];
        for (field, readable, why, hint) in fields {
            let value = object.pointer(&format!("/metadata/{field}")).unwrap_or(&Value::Null);
            if readable || value.is_null() || value == "" {
                continue;
            }
            let mut finding =
                Finding::new(Code::UnreadableMetadata, format!("the `{field}` of {reference} {why}"));
            finding.references = vec![reference.clone()];
            finding.hint = Some(hint);
            let field = FieldPath::dotted("metadata").field(field);
            self.objections.push(Objection { finding, at: origin.clone(), field: Some(field), also: None });
        }
    }

    fn unnamed(&mut self, kind: Kind, object: &Value, error: &DecodeError, origin: &Origin) {
        let field = match error {
            DecodeError::Field { field, .. } => FieldPath::dotted(field),
            DecodeError::NotAnObject { .. } | DecodeError::NoFacts(_) => FieldPath::default(),
        };
        let mut finding = Finding::new(Code::Unnamed, format!("{} cannot be used: {error}", kind.kind()));
        finding.hint = Some(match error {
            DecodeError::Field { problem: ValueProblem::Missing, field: "metadata.name" }
                if object.pointer("/metadata/generateName").is_some() =>
            {
                "write `metadata.name`: the output's name is made of it, so `generateName` is not enough"
                    .to_owned()
            }
            DecodeError::Field { problem: ValueProblem::Missing, field } => format!("write `{field}`"),
            DecodeError::Field { field, .. } => format!("correct `{field}`"),
            DecodeError::NotAnObject { .. } | DecodeError::NoFacts(_) => "write an object".to_owned(),
        });
        self.objections.push(Objection { finding, at: origin.clone(), field: Some(field), also: None });
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
        self.objections.push(Objection { finding, at: origin.clone(), field: Some(field), also: None });
    }

    fn ignore(&mut self, what: Option<String>) {
        *self.ignored.entry(what).or_default() += 1;
    }
}

/// Whether something says what kind of object it is.
fn is_object(item: &Value) -> bool {
    ["apiVersion", "kind"].into_iter().all(|field| item.get(field).is_some_and(Value::is_string))
}

/// The kind that Kleym reads in another version, or in another group.
fn other_version(kind_name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.kind() == kind_name)
}

fn in_words(api_version: &str, kind_name: &str) -> String {
    format!("{} ({})", Quoted(kind_name), Quoted(api_version)).replace('`', "")
}
