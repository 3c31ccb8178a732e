//! `kleym inspect`: everything about one binding, side by side: what is declared, what the engine computes, what the
//! status says, and what the output holds.

use std::io::{self, Write};

use kleym_core::fact::Binding;
use kleym_core::index::Verdict;
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, ObjectName, describe, output_name};
use kleym_core::output::Ownership;
use kleym_core::relation::{self, Cause, Precedence};
use kleym_core::render::Identity;
use kleym_core::report::{self, Code, Difference, Scene, Standing};
use kleym_core::settings::given::Environment;
use kleym_core::spire::{Phase, Pod};
use kleym_core::status::{ConditionFact, Truth, conditions_of, granted_conditions};
use kleym_core::text::Quoted;
use serde_json::Value;

use crate::args::{self, Format, View};
use crate::console::Console;
use crate::declared::{Declared, Told};
use crate::exit::{Exit, Failure};
use crate::manager::KnownManager;
use crate::output::{self, NONE, Table, counted, harmless};
use crate::reports::{
    BindingReport, ConditionView, DeclaredView, EngineView, FieldDifference, FindingEntry, OutputCounts,
    OutputState, OutputView, PeerView, PodView, Relation, SettingsInUse, VerdictName,
};
use crate::rows::{condition, row};
use crate::sight::{BESIDE_AND_OPERATORS, Sight};
use crate::survey::{Question, Survey};

/// How many peers and pods are shown to people, if not all are asked for.
const SHOWN: usize = 10;

pub(super) fn run(
    typed: &args::Inspect,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Inspect { object, name, input, output: view, manager, strictness, settings } = typed;
    let name = binding_name(object, name.as_deref())?;
    let survey =
        Survey::of(Question { input, settings, beside: &BESIDE_AND_OPERATORS, id: None }, environment)?;
    let declared = &survey.declared;
    let live = survey.cluster.is_some();
    let sight = Sight::of(declared, live, KnownManager::of(&survey, manager)?);
    if console.verbose {
        output::what_was_looked_at(console, &survey, &sight, settings, environment);
    }
    let Some(binding) = find(&survey, &name)? else {
        // What could not be parsed comes first: the binding may stand in it.
        let mut unparsed = declared.told(Vec::new(), |_| false);
        unparsed.retain(|told| told.finding.code == Code::Unparsable);
        output::tell(console, &declared.files, &unparsed);
        let so_far = if unparsed.is_empty() { "" } else { " in what could be parsed" };
        let scope = survey.scope.as_ref().map(Namespace::as_str);
        let place = scope.map(|scope| format!(" in namespace `{scope}`")).unwrap_or_default();
        console.remark(&format!("error: there is no InferenceIdentityBinding `{name}`{place}{so_far}"));
        console.remark(if live {
            "  = help: `kleym status -A` lists them all"
        } else {
            "  = help: `kleym status` with the same -f lists them all"
        });
        return Ok(Exit::NotFound);
    };
    let own = |key: &BindingKey| *key == binding.key;
    let scene = sight.scene(declared, survey.scope.as_ref());
    let mut told = declared.told(report::everything(&scene), own);
    // What could not be read of spire-controller-manager is said of a cluster; files need not have it.
    told.extend(sight.findings.iter().filter(|_| live).cloned().map(Told::alone));
    told.sort_by_key(|told| told.finding.severity());

    let report = report_of(declared, &scene, binding, &told);
    match view {
        None => people(&mut console.out, &report, SHOWN)?,
        Some(View::Wide) => people(&mut console.out, &report, usize::MAX)?,
        Some(View::Name) => {
            writeln!(console.out, "inferenceidentitybinding.{}/{name}", Kind::Binding.group())?;
        }
        Some(View::Json) => output::report(&mut console.out, Format::Json, report)?,
        Some(View::Yaml) => output::report(&mut console.out, Format::Yaml, report)?,
    }
    console.out.flush()?;
    if let Some(remark) = &survey.remark {
        console.remark(remark);
    }
    output::tell(console, &declared.files, &told);
    Ok(output::exit_of(&told, strictness.strict))
}

/// The name in `binding NAME`, `binding/NAME`, or with any other of the kind's names.
fn binding_name(object: &str, name: Option<&str>) -> Result<ObjectName, Failure> {
    let (kind, name) = match name {
        None => object.split_once('/').unwrap_or(("", object)),
        Some(name) => (object, name),
    };
    if !is_binding(kind) {
        let typed = if object == kind { format!("{kind} {name}") } else { object.to_owned() };
        return Err(Failure::Unusable {
            problems: vec![format!("{} is no binding", Quoted(&typed))],
            hint: Some("write `kleym inspect binding NAME` or `kleym inspect binding/NAME`".to_owned()),
        });
    }
    ObjectName::parse(name).map_err(|error| Failure::unusable(describe(name, &error)))
}

/// Whether a word names our kind: as people say it, or as kubectl has it.
fn is_binding(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let word = word.strip_suffix(&format!(".{}", Kind::Binding.group())).unwrap_or(&word);
    ["binding", "bindings", "iib", "inferenceidentitybinding", Kind::Binding.plural()].contains(&word)
}

/// The binding of that name; of files, when no namespace was named, in whichever namespace it is the only one.
fn find<'a>(survey: &'a Survey, name: &ObjectName) -> Result<Option<&'a Binding>, Failure> {
    let hits: Vec<&Binding> = survey
        .declared
        .index
        .bindings()
        .filter(|binding| binding.key.name == *name && survey.covers(&binding.key))
        .collect();
    match hits.as_slice() {
        [] => Ok(None),
        [binding] => Ok(Some(binding)),
        _ => Err(Failure::unusable(format!(
            "there are {} bindings `{name}`; name the namespace with -n",
            hits.len()
        ))),
    }
}

fn report_of(declared: &Declared, scene: &Scene<'_>, binding: &Binding, told: &[Told]) -> BindingReport {
    let identity = declared.index.identity(&binding.key).map(|identity| &**identity);
    let status = declared.status(&binding.key).cloned();
    BindingReport {
        settings: SettingsInUse::from(declared.index.settings_in(&binding.key.namespace)),
        binding: row(declared, binding),
        declares: declares(binding),
        engine: engine(declared, binding, identity),
        status,
        output: output(scene, binding),
        peers: identity.map(|identity| peers(declared, binding, identity)).unwrap_or_default(),
        pods: pods(scene, binding, identity),
        findings: FindingEntry::all(&declared.files, told),
    }
}

fn declares(binding: &Binding) -> Option<DeclaredView> {
    let spec = binding.spec.as_ref().ok()?;
    Some(DeclaredView {
        workload_selector_templates: spec.selector_templates.iter().map(|one| one.to_string()).collect(),
        container_discriminator: spec
            .discriminator
            .as_ref()
            .map(|discriminator| format!("{} {}", discriminator.kind.as_str(), discriminator.value)),
        spiffe_id_template: spec.spiffe_id_template.as_deref().map(str::to_owned),
    })
}

fn engine(declared: &Declared, binding: &Binding, identity: Option<&Identity>) -> EngineView {
    let verdict = declared.index.verdict(&binding.key).verdict;
    let (name, conditions) = match &verdict {
        Verdict::Wanted(identity) => {
            let output = output_name(
                declared.index.settings_in(&binding.key.namespace).instance.as_str(),
                &binding.key,
            );
            (VerdictName::Wanted, granted_conditions(&output, identity))
        }
        Verdict::Refused(refusal) => (VerdictName::Refused, conditions_of(Some(refusal))),
        Verdict::Waiting(_) | Verdict::Gone => (VerdictName::Undecided, Vec::new()),
        Verdict::Deleting => (VerdictName::Deleting, Vec::new()),
    };
    EngineView {
        verdict: name,
        conditions: conditions.into_iter().map(ConditionView::from).collect(),
        pool: identity.map(|identity| identity.pool.name.to_string()),
        spiffe_id: identity.map(|identity| identity.spiffe_id.to_string()),
        selectors: identity
            .map(|identity| identity.selectors.texts().map(str::to_owned).collect())
            .unwrap_or_default(),
        selector_fingerprint: identity.map(|identity| identity.selectors.fingerprint()),
    }
}

impl From<ConditionFact> for ConditionView {
    fn from(condition: ConditionFact) -> Self {
        let ConditionFact { kind, status, reason, message } = condition;
        Self { kind: kind.to_owned(), status: status.as_str().to_owned(), reason: reason.to_owned(), message }
    }
}

/// How the output stands, decided by the live object alone.
fn output(scene: &Scene<'_>, binding: &Binding) -> OutputView {
    let none = Vec::new();
    let (state, drift) = match (scene.index.verdict(&binding.key).verdict, scene.whose(binding)) {
        (Verdict::Wanted(identity), _) => match scene.standing(binding, &identity) {
            Standing::Unknown => (OutputState::Unknown, none),
            Standing::Missing => (OutputState::Missing, none),
            Standing::Foreign(_) => (OutputState::Foreign, none),
            Standing::Orphan(_) => (OutputState::Orphan, none),
            Standing::InSync(_) => (OutputState::InSync, none),
            Standing::Drifted(live, fields) => {
                let wanted = scene.wanted_output(binding, &identity, live);
                let differ = |field| Difference::of(field, live, &wanted);
                (OutputState::Drifted, fields.into_iter().map(differ).collect())
            }
        },
        (_, Some((_, Ownership::Foreign))) => (OutputState::Foreign, none),
        (_, Some((_, Ownership::Orphan))) => (OutputState::Orphan, none),
        (_, Some((_, Ownership::Ours))) => (OutputState::Unwanted, none),
        (_, None) if scene.outputs.is_none() => (OutputState::Unknown, none),
        (_, None) => (OutputState::None, none),
    };
    let counts = scene.output(&binding.key).and_then(|live| live.stats).map(|stats| OutputCounts {
        pods_selected: stats.pods_selected,
        entries_to_set: stats.entries_to_set,
        entry_failures: stats.entry_failures,
        entries_masked: stats.entries_masked,
    });
    OutputView {
        name: scene.output_name(&binding.key).to_string(),
        state,
        drift: drift.iter().map(|difference| difference.field.to_owned()).collect(),
        differences: drift.into_iter().map(FieldDifference::from).collect(),
        counts,
    }
}

impl From<Difference> for FieldDifference {
    fn from(difference: Difference) -> Self {
        let Difference { field, found, wanted } = difference;
        let [found, wanted] = [found, wanted].map(|all| all.into_iter().collect());
        Self { field: field.to_owned(), found, wanted }
    }
}

fn peers(declared: &Declared, binding: &Binding, own: &Identity) -> Vec<PeerView> {
    let index = &declared.index;
    let others = index
        .bindings()
        .filter(|other| other.key.namespace == binding.key.namespace && other.key != binding.key);
    let mut peers: Vec<PeerView> = others
        .filter_map(|other| {
            let theirs = index.identity(&other.key)?;
            let apart = relation::disjoint(own, theirs);
            let relation = match relation::conflict(own, theirs) {
                Some(Cause::IdentityCollision) => Relation::IdentityCollision,
                Some(Cause::DuplicateSpiffeId) => Relation::DuplicateSpiffeId,
                None if apart.is_some() => Relation::Disjoint,
                None if own.spiffe_id == theirs.spiffe_id => Relation::SameIdentity,
                None => Relation::Layered,
            };
            let texts =
                |apart: relation::Apart<'_>| [apart.first, apart.second].map(|item| item.as_str().to_owned());
            Some(PeerView {
                name: other.key.name.to_string(),
                spiffe_id: theirs.spiffe_id.to_string(),
                relation,
                comes_first: Precedence::of(other) < Precedence::of(binding),
                apart_by: apart.map(texts),
            })
        })
        .collect();
    peers.sort_by(|a, b| (a.relation, &a.name).cmp(&(b.relation, &b.name)));
    peers
}

fn pods(scene: &Scene<'_>, binding: &Binding, identity: Option<&Identity>) -> Option<Vec<PodView>> {
    let identity = identity.filter(|_| scene.pods_known)?;
    let selected = scene.world.pods.iter().filter(|pod| {
        pod.namespace == binding.key.namespace
            && identity
                .selectors
                .pod_labels()
                .all(|(key, value)| pod.labels.get(key).map(|v| &**v) == Some(value))
    });
    let view = |pod: &Pod| PodView {
        name: pod.name.to_string(),
        phase: (pod.phase != Phase::Unknown).then(|| pod.phase.as_str().to_owned()),
        service_account: (!pod.service_account.is_empty()).then(|| pod.service_account.to_string()),
        node: pod.node_name.as_deref().map(str::to_owned),
    };
    Some(selected.map(view).collect())
}

/// The report as `kubectl describe` would lay it out.
fn people(out: &mut dyn Write, report: &BindingReport, shown: usize) -> io::Result<()> {
    let BindingReport { settings: _, binding, declares, engine, status, output, peers, pods, findings: _ } =
        report;
    let mut field = |name: &str, value: &str| {
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        writeln!(out, "{name:<16}{}", harmless(value))
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    field("Name", &binding.name)?;
    field("Namespace", &binding.namespace)?;
    let pool = engine.pool.as_ref().map(|pool| format!(" -> InferencePool/{pool}")).unwrap_or_default();
    field("Target", &format!("{}{pool}", or_none(&binding.target)))?;
    field("Mode", &or_none(&binding.mode))?;
    if let Some(declares) = declares {
        for (index, template) in declares.workload_selector_templates.iter().enumerate() {
            field(if index == 0 { "Declares" } else { "" }, template)?;
        }
        if let Some(discriminator) = &declares.container_discriminator {
            field("  Container", discriminator)?;
        }
        if let Some(template) = &declares.spiffe_id_template {
            field("  ID template", template)?;
        }
    }
    let ready = engine.conditions.first();
    field(
        "Engine",
        &match (engine.verdict, ready) {
            (VerdictName::Refused, Some(ready)) => format!("Refused, {}", ready.reason),
            (verdict, _) => verdict.as_str().to_owned(),
        },
    )?;
    if let (VerdictName::Refused, Some(ready)) = (engine.verdict, ready) {
        field("  Because", &ready.message)?;
    }
    if let Some(id) = &engine.spiffe_id {
        field("  SPIFFE ID", id)?;
    }
    for (index, selector) in engine.selectors.iter().enumerate() {
        field(if index == 0 { "  Selectors" } else { "" }, selector)?;
    }
    field("Status", &in_words(status.as_ref()))?;
    field("Output", &output.name)?;
    field(
        "  State",
        &match output.drift.as_slice() {
            [] => output.state.as_str().to_owned(),
            drift => format!("{}: {}", output.state.as_str(), drift.join(", ")),
        },
    )?;
    for FieldDifference { field: name, found, wanted } in &output.differences {
        field(
            "",
            &match (found.as_slice(), wanted.as_slice()) {
                ([], []) => format!("{name}: the same, in another order"),
                ([], wanted) => format!("{name}: lacks {}", wanted.join(", ")),
                (found, []) => format!("{name}: is not to have {}", found.join(", ")),
                (found, wanted) => format!("{name}: {}, wanted {}", found.join(", "), wanted.join(", ")),
            },
        )?;
    }
    field(
        "  SCM",
        &match output.counts {
            None => "nothing reported".to_owned(),
            Some(OutputCounts { pods_selected, entries_to_set, entry_failures, entries_masked }) => format!(
                "{} selected, {} to set, {entry_failures} failed, {entries_masked} masked",
                number(pods_selected, "pod", "pods"),
                number(entries_to_set, "entry", "entries")
            ),
        },
    )?;
    match pods {
        None => field("Pods", "not looked at")?,
        Some(pods) => field("Pods", &counted(pods.len(), "pod has the labels", "pods have the labels"))?,
    }
    let pods = pods.as_deref().unwrap_or_default();
    if !pods.is_empty() {
        let mut table = Table::new(&["  POD", "PHASE", "SERVICE-ACCOUNT", "NODE"]);
        for PodView { name, phase, service_account, node } in pods.iter().take(shown) {
            let said = |text: &Option<String>| text.clone().unwrap_or_default();
            table.row([format!("  {name}"), said(phase), said(service_account), said(node)]);
        }
        table.print(out)?;
        more(out, pods.len(), shown)?;
    }
    writeln!(
        out,
        "{:<16}{}",
        "Peers:",
        counted(peers.len(), "binding with an identity", "bindings with an identity")
    )?;
    if !peers.is_empty() {
        let mut table = Table::new(&["  PEER", "RELATION", "FIRST", "BECAUSE"]);
        for PeerView { name, spiffe_id, relation, comes_first, apart_by } in peers.iter().take(shown) {
            let because = match apart_by {
                Some([own, theirs]) => format!("{own} / {theirs}"),
                None => format!("{}: {spiffe_id}", because(*relation)),
            };
            let first = if *comes_first { "it" } else { "this" };
            table.row([format!("  {name}"), relation.as_str().to_owned(), first.to_owned(), because]);
        }
        table.print(out)?;
        more(out, peers.len(), shown)?;
    }
    Ok(())
}

/// Why two bindings stand to each other so, where no selector tells it; the other one's SPIFFE ID follows.
const fn because(relation: Relation) -> &'static str {
    match relation {
        Relation::IdentityCollision => "no selector proves the two apart, and it has",
        Relation::DuplicateSpiffeId => "of another subject, and has the same",
        Relation::Layered => "pool and objective do not compete, and it has",
        Relation::SameIdentity => "of the same subject, and has the same",
        Relation::Disjoint => "no workload matches both, and it has",
    }
}

fn number(number: i64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

fn more(out: &mut dyn Write, all: usize, shown: usize) -> io::Result<()> {
    match all.saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(out, "  ({more} more; -o wide shows all)"),
    }
}

/// A status in one line.
fn in_words(status: Option<&Value>) -> String {
    let Some(status) = status else {
        return "none: it is not in a cluster, or nobody has reported yet".to_owned();
    };
    let observed = status.get("observedGeneration").and_then(Value::as_i64).unwrap_or(-1);
    let (ready, reason) = condition(status, "Ready").unwrap_or((Truth::Unknown.as_str(), "no condition"));
    format!("Ready={ready} {reason}, generation {observed} observed")
}
