//! What there is to say about live outputs and SPIRE. Everything here is read from a [`Scene`]; what could not be
//! read is not spoken of.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::code::Code;
use super::finding::{Finding, Reference, binding_key};
use super::neighbours::neighbours;
use super::place::FieldPath;
use super::scene::{Scene, Standing};
use super::workload::workloads;
use crate::announce;
use crate::brake::{self, Difference};
use crate::fact::Binding;
use crate::index::Verdict;
use crate::name::{ClassName, Namespace};
use crate::output::{LiveOutput, Ownership};
use crate::refusal::{Reason, Refusal};
use crate::render::Identity;
use crate::settings::{DEFAULT_INSTANCE, Settings};
use crate::spiffe::TrustDomain;
use crate::spire::{Class, Ignored, Manager, NotWatched, Pod};
use crate::text::{Quoted, quoted_list};

/// What there is to say of every binding that is to have an identity; then of outputs without one, and of what stops SCM.
pub(super) fn live(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut operators: BTreeMap<&str, Called> = BTreeMap::new();
    for (binding, identity) in scene.wanted() {
        let settings = scene.index.settings_in(&binding.key.namespace);
        let operator = operators.entry(settings.instance.as_str()).or_insert_with(|| Called::of(settings));
        found.extend(output(scene, binding, &identity));
        found.extend(watched(scene, binding, operator));
        found.extend(reported(scene, binding));
        found.extend(workloads(scene, binding, &identity));
        found.extend(neighbours(scene, binding, None));
    }
    found.extend(scene.index.bindings().filter_map(|binding| still_there(scene, binding)));
    found.extend(orphans(scene));
    found.extend(poison(scene));
    found
}

pub(super) fn about(code: Code, binding: &Binding, message: String) -> Finding {
    let key = binding_key(&binding.key);
    Finding::new(code, message).about(&key).at(key, FieldPath::name())
}

pub(super) fn object_reference(name: &str) -> Reference {
    Reference { kind: "ClusterSPIFFEID", namespace: None, name: name.into() }
}

fn pod_reference(pod: &Pod) -> Reference {
    Reference { kind: "Pod", namespace: Some(pod.namespace.as_str().into()), name: pod.name.as_str().into() }
}

impl Finding {
    pub(super) fn with(mut self, reference: Reference) -> Self {
        self.references.push(reference);
        self
    }

    pub(super) fn with_pods<'a>(self, pods: impl IntoIterator<Item = &'a Pod>) -> Self {
        pods.into_iter().fold(self, |finding, pod| finding.with(pod_reference(pod)))
    }
}

pub(super) fn names<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> String {
    let names: Vec<&str> = pods.into_iter().map(|pod| pod.name.as_str()).collect();
    let noun = if names.len() == 1 { "pod" } else { "pods" };
    format!("{noun} {}", quoted_list(names))
}

/// How the output stands.
pub fn output(scene: &Scene<'_>, binding: &Binding, identity: &Identity) -> Option<Finding> {
    let key = &binding.key;
    let name = scene.output_name(key);
    let shown = Quoted(name.as_str());
    let finding = match scene.standing(binding, identity) {
        Standing::Unknown | Standing::InSync(_) => return None,
        Standing::Missing if scene.no_output_kind => {
            let refusal = Refusal::OutputCrdMissing;
            let mut finding = about(Code::ClusterSpiffeIdCrdMissing, binding, refusal.what());
            finding.hint = refusal.hint();
            return Some(finding);
        }
        Standing::Missing if let Some(said) = not_written(scene, binding) => {
            about(Code::ManagedOutputApplyFailed, binding, said.to_owned())
                .hint("see the log of kleym-operator for the API server's answer")
        }
        Standing::Missing => about(
            Code::OutputMissing,
            binding,
            format!("`{key}` is to have an identity, but its output {shown} does not exist"),
        )
        .hint("see that kleym-operator runs and leads (`kleym check`), and what its log says of this binding"),
        Standing::Foreign(_) => {
            let refusal = Refusal::OutputForeign { name: name.clone() };
            let mut finding = about(Code::ManagedOutputConflict, binding, refusal.what());
            finding.hint = refusal.hint();
            finding
        }
        Standing::Orphan(live) => return Some(orphan(binding, live)),
        Standing::Drifted(_, fields) => about(
            Code::OutputDrifted,
            binding,
            format!("the output {shown} of `{key}` differs in {}", quoted_list(fields)),
        )
        .hint("kleym-operator repairs this by itself: see that it runs and leads, and with these settings (`kleym check`)"),
    };
    Some(finding.with(object_reference(name.as_str())))
}

/// What an earlier binding of the name left.
fn orphan(binding: &Binding, live: &LiveOutput) -> Finding {
    let name = live.name.as_str();
    let message =
        format!("{} is the output of an earlier binding `{}`, and still a grant", Quoted(name), binding.key);
    about(Code::OrphanOutput, binding, message)
        .hint("kleym-operator deletes it as soon as it sees it: see that it runs and leads (`kleym check`)")
        .with(object_reference(name))
}

/// The output of a binding that is refused, and is to have none.
pub fn still_there(scene: &Scene<'_>, binding: &Binding) -> Option<Finding> {
    let decision = scene.index.verdict(&binding.key);
    let Verdict::Refused(refusal) = decision.verdict else { return None };
    // What is only held back by an API that fails stays as it is.
    let (live, ownership) = scene.whose(binding).filter(|_| decision.held.is_empty())?;
    match ownership {
        Ownership::Foreign => return None,
        Ownership::Orphan => return Some(orphan(binding, live)),
        Ownership::Ours => {}
    }
    let message = format!(
        "the output {} of `{}` is still there and grants {}, though the binding is refused ({})",
        Quoted(live.name.as_str()),
        binding.key,
        Quoted(&live.spec.spiffe_id),
        refusal.reason().as_str()
    );
    let hint = "kleym-operator withdraws it as soon as it has refused the binding: see that it runs and leads, and with these settings (`kleym check`)";
    Some(
        about(Code::OutputNotWithdrawn, binding, message)
            .hint(hint)
            .with(object_reference(live.name.as_str())),
    )
}

/// Why the operator could not write an output, as the status says.
fn not_written<'a>(scene: &Scene<'a>, binding: &Binding) -> Option<&'a str> {
    let status = scene.statuses.get(&binding.key)?.as_ref()?;
    (status.reason == Reason::ManagedOutputApplyFailed.as_str()).then_some(&*status.message)
}

/// How the operator that writes an output is called where it is to be started anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// `kleym-operator`
    pub name: String,
    /// How to find out which it is, where that is not clear.
    pub find: Option<String>,
    /// The flags whose values it takes from their variables.
    variables: Vec<&'static str>,
    /// What of the live outputs stops it with a setting. Asked once: of many bindings it is the same.
    stops: RefCell<BTreeMap<(&'static str, String), Option<Difference>>>,
}

/// The flag of the class.
pub const CLASS_FLAG: &str = "clusterspiffeid-class-name";
/// The flag of the trust domain.
pub const TRUST_DOMAIN_FLAG: &str = "trust-domain";

/// The flag of the path grants.
pub const PATH_GRANT_FLAG: &str = "path-grant";
/// A setting as it is typed: by its flag, or by its variable.
pub fn typed(flag: &str, variable: bool) -> String {
    match variable {
        true => format!("KLEYM_{}", flag.to_ascii_uppercase().replace('-', "_")),
        false => format!("--{flag}"),
    }
}

impl Called {
    /// By a name, and how to find out whose it is.
    pub fn new(name: String, find: Option<String>) -> Self {
        Self { name, find, variables: Vec::new(), stops: RefCell::default() }
    }

    /// One that takes the values of these flags from their variables.
    #[must_use]
    pub fn with_variables(mut self, flags: impl IntoIterator<Item = &'static str>) -> Self {
        self.variables.extend(flags);
        self
    }

    /// By its instance, which is the usual one where nothing is said.
    pub fn of(settings: &Settings) -> Self {
        let instance = settings.instance.as_str();
        let name = match instance {
            DEFAULT_INSTANCE => "kleym-operator".to_owned(),
            _ => format!("the kleym-operator of instance `{instance}`"),
        };
        Self::new(name, None)
    }

    /// That it is to be started with the class that SCM watches.
    pub fn start_with_class(&self, scene: &Scene<'_>, settings: &Settings, class: &Class) -> String {
        let then = Settings { class_name: ClassName::parse(&class.name).ok(), ..settings.clone() };
        self.start(scene, CLASS_FLAG, &class.name, Some(&then))
    }

    /// That it is to be started with the trust domain that SCM serves.
    pub fn start_with_trust_domain(&self, scene: &Scene<'_>, settings: &Settings, theirs: &str) -> String {
        let then = TrustDomain::parse(theirs).ok();
        let then = then.map(|trust_domain| Settings { trust_domain, ..settings.clone() });
        self.start(scene, TRUST_DOMAIN_FLAG, theirs, then.as_ref())
    }

    /// That it is to be started with a setting, and how it does start then; or that SCM is to be as it was.
    fn start(&self, scene: &Scene<'_>, flag: &'static str, value: &str, then: Option<&Settings>) -> String {
        let setting = typed(flag, self.variables.contains(&flag));
        let how =
            if value.is_empty() { format!("without {setting}") } else { format!("with {setting}={value}") };
        let find = self.find.as_deref().map(|find| format!("; {find}")).unwrap_or_default();
        let mut known = self.stops.borrow_mut();
        let stop = known
            .entry((flag, value.to_owned()))
            .or_insert_with(|| then.and_then(|settings| stopped(scene, settings, flag)));
        let (once, back) = stop.as_ref().map(passed).unwrap_or_default();
        format!("start {} {how}{once}{find}{back}", self.name)
    }
}

/// What the brake of an operator with these settings finds in the live outputs, as far as it is about a flag.
pub fn stopped(scene: &Scene<'_>, settings: &Settings, flag: &str) -> Option<Difference> {
    let serves = |namespace: &Namespace| scene.index.settings_in(namespace).instance == settings.instance;
    let all = brake::differences(settings, scene.outputs.unwrap_or_default(), serves, |_| false);
    all.into_iter().find(|difference| match difference {
        Difference::ClassName { .. } => flag == CLASS_FLAG,
        Difference::TrustDomain { .. } => flag == TRUST_DOMAIN_FLAG,
        Difference::PathGrants { .. } => flag == PATH_GRANT_FLAG,
        Difference::Instance { .. } => false,
    })
}

/// How an operator starts all the same that its brake stops; and how SCM would be as it was, which has made entries for these
/// outputs.
fn passed(stop: &Difference) -> (String, String) {
    let (outputs, found, was) = match stop {
        Difference::ClassName { outputs, found, .. } => (outputs, found, "className"),
        Difference::TrustDomain { outputs, found, .. } => (outputs, found, "trustDomain"),
        _ => return Default::default(),
    };
    let carry = match found.as_slice() {
        [none] if none.is_empty() => "no class".to_owned(),
        found => quoted_list(found.iter().map(String::as_str)),
    };
    let once = format!(
        ", once with --allow-configuration-change, for it refuses to start otherwise: {} {carry}",
        if *outputs == 1 {
            "1 issued output carries".to_owned()
        } else {
            format!("{outputs} issued outputs carry")
        },
    );
    let back = match found.as_slice() {
        [none] if none.is_empty() => {
            "; or let spire-controller-manager watch them again (`watchClassless: true`)".to_owned()
        }
        [old] => format!("; or give spire-controller-manager its `{was}: {old}` back"),
        _ => String::new(),
    };
    (once, back)
}

/// Whether SCM looks at the output: class, namespace, trust domain.
pub fn watched(scene: &Scene<'_>, binding: &Binding, operator: &Called) -> Vec<Finding> {
    let settings = scene.index.settings_in(&binding.key.namespace);
    let mut found = Vec::new();
    let Some((place, fate)) = scene.fate(&binding.key) else { return found };
    let object = scene.object(place);
    let manager = scene.world.manager_of(object);
    if let (Some(why), Some(class)) = (&fate.not_watched, &manager.class) {
        let message = match why {
            NotWatched::NoLabel => format!(
                "the output of `{}` lacks the label `spire.spiffe.io/class-name`, which spire-controller-manager filters by",
                binding.key
            ),
            NotWatched::OtherClass | NotWatched::Classless => format!(
                "the output of `{}` has {}, but spire-controller-manager watches {class}{}",
                binding.key,
                if object.class_name.is_empty() {
                    "no class".to_owned()
                } else {
                    format!("class {}", Quoted(&object.class_name))
                },
                others_watch(scene),
            ),
        };
        let hint = operator.start_with_class(scene, settings, class);
        found.push(
            about(Code::ClassNotWatched, binding, message).hint(hint).with(object_reference(&object.name)),
        );
    }
    found.extend(ignored(manager, binding));
    found.extend(not_read(manager, binding));
    if let Some(theirs) =
        manager.trust_domain.as_deref().filter(|theirs| *theirs != settings.trust_domain.as_str())
    {
        let message = format!(
            "`{}` has a SPIFFE ID of trust domain `{}`, but spire-controller-manager serves {}",
            binding.key,
            settings.trust_domain,
            Quoted(theirs)
        );
        let hint = operator.start_with_trust_domain(scene, settings, theirs);
        found.push(about(Code::TrustDomainDiffers, binding, message).hint(hint));
    }
    found
}

/// What the other SCMs watch, where there are any.
fn others_watch(scene: &Scene<'_>) -> String {
    let others = scene.world.others.iter().filter_map(|other| other.class.as_ref());
    others.map(|class| format!(", and another one {class}")).collect()
}

/// That SCM leaves the namespace out, by which patterns, and what to make of each of them.
fn ignored(manager: &Manager, binding: &Binding) -> Option<Finding> {
    let namespace = binding.key.namespace.as_str();
    let patterns: Vec<&Ignored> = manager.ignoring(namespace).collect();
    if patterns.is_empty() {
        return None;
    }
    let message = format!(
        "spire-controller-manager ignores namespace `{namespace}` because of {} in `ignoreNamespaces`, which {} searched for anywhere in the name",
        quoted_list(patterns.iter().map(|pattern| pattern.pattern())),
        if patterns.len() == 1 { "is" } else { "are" }
    );
    let change = |pattern: &&Ignored| {
        let written = Quoted(pattern.pattern());
        match pattern.anchored(namespace) {
            Some(anchored) => format!("write {written} as {}", Quoted(&anchored)),
            None if pattern.pattern().trim_start_matches('^').trim_end_matches('$') == namespace => {
                format!("take {written} out")
            }
            None => format!("narrow {written}, which matches the whole name, or take it out"),
        }
    };
    let changes: Vec<String> = patterns.iter().map(change).collect();
    let hint = format!(
        "in `ignoreNamespaces` of spire-controller-manager {}, and start it anew; or move the workload to another namespace",
        changes.join(", and ")
    );
    Some(about(Code::NamespaceIgnored, binding, message).hint(hint))
}

/// That SCM's cache is restricted to other namespaces.
fn not_read(manager: &Manager, binding: &Binding) -> Option<Finding> {
    let namespace = binding.key.namespace.as_str();
    let cached = manager.cached.as_ref().filter(|_| !manager.reads(namespace))?;
    let message = format!(
        "spire-controller-manager reads the pods of {} alone (`cacheNamespaces`), and `{namespace}` is not one of them: no pod there gets an entry, not even a fallback identity",
        if cached.len() == 1 { "1 namespace".to_owned() } else { format!("{} namespaces", cached.len()) }
    );
    let at = manager.at.as_deref().map(|at| format!(" in {at}")).unwrap_or_default();
    let hint = format!(
        "add `{namespace}: {{}}` to `cacheNamespaces` of spire-controller-manager{at}, and start it anew, for it reads its configuration when it starts"
    );
    Some(about(Code::NamespaceNotRead, binding, message).hint(hint))
}

/// What SCM last reported of the output.
pub fn reported(scene: &Scene<'_>, binding: &Binding) -> Option<Finding> {
    let live = scene.output(&binding.key).filter(|live| live.wears_our_label())?;
    let Some(stats) = live.stats else {
        let unwatched = scene.fate(&binding.key).is_some_and(|(_, fate)| !fate.watched.possible());
        // As long as the operator gives it before it warns.
        let new = scene.now.zip(live.created).is_some_and(|(now, created)| now < created + announce::GRACE);
        return (!unwatched && !new).then(|| not_picked_up(binding, live));
    };
    if stats.entry_failures > 0 {
        let message = format!(
            "spire-controller-manager reports that SPIRE Server refuses {} for the output of `{}`",
            entries(stats.entry_failures),
            binding.key
        );
        let hint = "see the log of spire-controller-manager for SPIRE Server's answer; a wrong trust domain and a server that is away look like this";
        return Some(
            about(Code::EntryFailures, binding, message)
                .hint(hint)
                .with(object_reference(live.name.as_str())),
        );
    }
    if stats.entries_masked > 0 {
        let masks = scene.fate(&binding.key).and_then(|(place, _)| {
            let masked = scene.prediction.entries_by(place).first()?.masked_by?;
            Some(scene.object(masked).name.clone())
        });
        let by = masks.as_deref().map(|name| format!(" by {}", Quoted(name))).unwrap_or_default();
        let message = format!(
            "spire-controller-manager reports {} of the output of `{}` as masked{by}: an older ClusterSPIFFEID makes the same",
            entries(stats.entries_masked),
            binding.key
        );
        let hint =
            "the workloads have the identity all the same; remove the older object if it is not needed";
        return Some(about(Code::EntriesMasked, binding, message).hint(hint));
    }
    None
}

fn entries(number: i64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{number} entries") }
}

fn not_picked_up(binding: &Binding, live: &LiveOutput) -> Finding {
    let message = format!(
        "spire-controller-manager has reported nothing about the output of `{}`: it may not watch its class, or not run",
        binding.key
    );
    about(Code::NotPickedUp, binding, message)
        .hint("compare --clusterspiffeid-class-name of kleym-operator with `className` of spire-controller-manager, and see that the latter runs")
        .with(object_reference(live.name.as_str()))
}

/// Outputs with complete proof whose binding is gone.
fn orphans(scene: &Scene<'_>) -> Vec<Finding> {
    let settings = scene.index.settings_by_namespace();
    // Where nothing tells which operator a namespace has, it may be any that is known.
    let mut known: Vec<&Settings> = settings.different();
    known.push(settings.rest());
    let proven = |output: &LiveOutput| {
        let (key, uid) = known.iter().find_map(|known| output.proven_binding(known))?;
        let own = settings.own_of(&key.namespace);
        own.is_none_or(|own| Some(own.instance.as_str()) == output.instance()).then_some((key, uid))
    };
    let mut found = Vec::new();
    for output in scene.outputs.unwrap_or_default() {
        let Some((key, uid)) = proven(output) else { continue };
        let read = scene.scope.is_none_or(|scope| *scope == key.namespace);
        let lives = scene.index.binding(&key).is_some_and(|binding| {
            binding.uid.as_ref().is_none_or(|own| *own == uid) || scene.output_name(&key) == output.name
        });
        if read && !lives {
            let message = format!(
                "{} is the output of the binding `{key}`, which does not exist: a grant that nobody asks for",
                Quoted(output.name.as_str())
            );
            let hint = format!(
                "the kleym-operator of instance {} deletes it as soon as it sees it: see that one runs, leads and watches the namespace (`kleym check`); where there is none any more, `kubectl delete clusterspiffeid {}`",
                Quoted(output.instance().unwrap_or_default()),
                output.name.as_str()
            );
            found.push(
                Finding::new(Code::OrphanOutput, message)
                    .hint(hint)
                    .with(object_reference(output.name.as_str()))
                    .about(&binding_key(&key)),
            );
        }
    }
    found
}

/// Objects that stop SCM altogether.
pub fn poison(scene: &Scene<'_>) -> Option<Finding> {
    let object = scene.object(*scene.prediction.poison.first()?);
    let what = object.problem.as_ref()?;
    let message = format!(
        "spire-controller-manager synchronises nothing, for nobody, while ClusterSPIFFEID {} is there: {what}",
        Quoted(&object.name)
    );
    let hint = format!(
        "delete it: `kubectl delete clusterspiffeid {}`; do not patch it, for an update waits for the webhook of spire-controller-manager, which does not come up while it is there; where it comes from, write its durations as `1h30m`, a day as `24h`",
        object.name
    );
    Some(Finding::new(Code::ManagerHalted, message).hint(hint).with(object_reference(&object.name)))
}
