//! A finding as data.

use kleym_core::report::{Finding, Reference, Severity};
use schemars::JsonSchema;
use serde::Serialize;

use crate::declared::Told;
use crate::source::{Files, Spot};

/// One finding.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FindingEntry {
    /// The stable code: `KLM1001`.
    pub code: String,
    /// How much it matters.
    pub severity: SeverityName,
    /// What is wrong, in one line.
    pub message: String,
    /// Something beside it that is worth knowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where the code is explained.
    pub page: String,
    /// The objects it speaks of; the first is the one it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectReference>,
    /// The field that shows it, of the object that it is shown by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Where it stands in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<SourcePlace>,
}

/// How much a finding matters.
#[derive(Serialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SeverityName {
    /// An identity is not granted, or an input cannot be used.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

/// An object.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Its kind.
    pub kind: String,
    /// Its namespace, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A place in a file; lines and columns count from 1, columns in characters.
#[derive(Serialize, JsonSchema, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SourcePlace {
    /// The file as it was named.
    pub file: String,
    /// The line where it begins.
    pub line: usize,
    /// The column where it begins.
    pub column: usize,
    /// The line where it ends.
    pub end_line: usize,
    /// The column behind its end.
    pub end_column: usize,
}

impl FindingEntry {
    /// A finding and its place.
    pub(crate) fn of(files: &Files, told: &Told) -> Self {
        let Told { finding, at, also: _ } = told;
        let place = at.as_ref().map(|spot| SourcePlace::of(files, spot));
        Self { place, ..Self::from(finding) }
    }

    /// All of them.
    pub(crate) fn all(files: &Files, told: &[Told]) -> Vec<Self> {
        told.iter().map(|told| Self::of(files, told)).collect()
    }
}

impl From<&Finding> for FindingEntry {
    fn from(finding: &Finding) -> Self {
        let Finding { code, message, note, hint, references, place, related: _ } = finding;
        Self {
            code: code.to_string(),
            severity: code.severity().into(),
            message: message.clone(),
            note: note.clone(),
            hint: hint.clone(),
            page: code.page(),
            objects: references.iter().map(ObjectReference::from).collect(),
            field: place.as_ref().map(|place| place.field.to_string()).filter(|field| !field.is_empty()),
            place: None,
        }
    }
}

impl From<Severity> for SeverityName {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => SeverityName::Error,
            Severity::Warning => SeverityName::Warning,
            Severity::Info => SeverityName::Info,
        }
    }
}

impl From<&Reference> for ObjectReference {
    fn from(reference: &Reference) -> Self {
        let Reference { kind, namespace, name } = reference;
        Self {
            kind: (*kind).to_owned(),
            namespace: namespace.as_deref().map(str::to_owned),
            name: name.to_string(),
        }
    }
}

impl SourcePlace {
    pub(crate) fn of(files: &Files, spot: &Spot) -> Self {
        let file = files.get(spot.file);
        let (line, column) = file.position(spot.range.start);
        let (end_line, end_column) = file.position(spot.range.end);
        Self { file: file.name.clone(), line, column, end_line, end_column }
    }
}
