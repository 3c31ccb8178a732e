//! What commands answer as JSON or YAML: versioned types of the command line's own, which only ever gain fields. Their
//! JSON Schema is generated from here. Nothing in here decides or formats for people.

mod check;
mod diff;
mod explain;
mod finding;
mod inspect;
mod lint;
mod map;
mod status;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;

pub use self::check::{CheckGroup, CheckReport, CheckResult};
pub use self::diff::{
    BindingChange, ChangeName, DiffReport, DiffSummary, FindingChanges, IdentitySide, SettingChange,
    WorkloadChange,
};
pub use self::explain::{
    ContainerIdentities, ContainerWithout, ExplainReport, ExplainedChain, ExplainedLink, GivenIdentity,
    LinkMark, OtherClaim, ReadField,
};
pub use self::finding::{FindingEntry, ObjectReference, SeverityName, SourcePlace};
pub use self::inspect::{
    BindingReport, ConditionView, DeclaredView, EngineView, FieldDifference, OutputCounts, OutputState,
    OutputView, PeerView, PodView, Relation, VerdictName,
};
pub use self::lint::{LintReport, LintSummary};
pub use self::map::{
    IdentityMap, MapContainer, MapEdge, MapFact, MapNode, MapOverlap, MapPair, NamespaceMap,
};
pub use self::status::{BindingRow, SettingsElsewhere, SettingsInUse, StatusReport, StatusSummary};

/// The version of every report.
pub const API_VERSION: &str = "cli.kleym.sonda.red/v1alpha1";

/// A report: what it is of, and that.
#[derive(Serialize, JsonSchema, Debug, Clone)]
pub struct Report<T> {
    /// The version of this format; fields are only ever added to it.
    #[serde(rename = "apiVersion")]
    #[schemars(extend("const" = API_VERSION))]
    api_version: &'static str,
    /// What it is a report of.
    #[schemars(length(min = 1))]
    kind: &'static str,
    /// What it reports.
    #[serde(flatten)]
    body: T,
}

/// What can be reported.
pub trait Reported: Serialize + JsonSchema {
    /// The kind of the report.
    const KIND: &'static str;
}

impl<T: Reported> Report<T> {
    /// A report of that.
    pub fn of(body: T) -> Self {
        Self { api_version: API_VERSION, kind: T::KIND, body }
    }
}

/// The schema of every kind of report, by kind.
pub fn schemas() -> Vec<(&'static str, Schema)> {
    fn one<T: Reported>() -> (&'static str, Schema) {
        // Of what is written: a field that may be left out is not required.
        let settings = SchemaSettings::default().for_serialize();
        let mut schema = settings.into_generator().into_root_schema_for::<Report<T>>();
        if let Some(kind) = schema.pointer_mut("/properties/kind").and_then(serde_json::Value::as_object_mut)
        {
            kind.insert("const".to_owned(), T::KIND.into());
        }
        schema.insert("title".to_owned(), T::KIND.into());
        (T::KIND, schema)
    }
    vec![
        one::<BindingReport>(),
        one::<CheckReport>(),
        one::<DiffReport>(),
        one::<ExplainReport>(),
        one::<IdentityMap>(),
        one::<LintReport>(),
        one::<StatusReport>(),
    ]
}
