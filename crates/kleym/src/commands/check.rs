//! `kleym check`: whether Kleym can work in a cluster, and whether it does. Everything is read with one list a kind; what
//! cannot be read is a finding, and the rest is still looked at.

mod operator;

use std::collections::BTreeMap;
use std::io::{self, Write};

use kleym_core::fact::Known;
use kleym_core::kind::Kind;
use kleym_core::name::Namespace;
use kleym_core::report::{self, CLASS_FLAG, Called, Code, Finding, Scene, Severity, TRUST_DOMAIN_FLAG};
use kleym_core::settings::Settings;
use kleym_core::settings::given::Environment;
use kleym_core::spire::{Answer, Manager, Registration, Template, World};
use kleym_core::text::{Quoted, quoted_list};
use serde_json::Value;

use self::operator::{compared, left, operator};
use crate::args;
use crate::console::Console;
use crate::declared::{Declared, Live};
use crate::deployment::{self, configured, of_instance};
use crate::exit::{Exit, Failure};
use crate::manager::KnownManager;
use crate::output::{self, counted};
use crate::reports::{CheckGroup, CheckReport, CheckResult, FindingEntry};
use crate::settings::{self, About, settings, with_status};
use crate::sight::{BESIDE, Sight};
use crate::source::Files;
use crate::source::cluster::{Cluster, Collection, Found, Limit, Resource, Why};
use crate::survey::{Survey, completed_by_cluster, namespace, operators, outputs_of};

/// The results of one group.
#[derive(Debug, Default)]
struct Group {
    name: &'static str,
    results: Vec<Outcome>,
}

#[derive(Debug)]
enum Outcome {
    /// It is as it should be.
    Fine(String),
    /// It is not, or cannot be told.
    Found(Finding),
}

impl Group {
    fn new(name: &'static str) -> Self {
        Self { name, results: Vec::new() }
    }

    fn fine(&mut self, says: impl Into<String>) {
        self.results.push(Outcome::Fine(says.into()));
    }

    fn found(&mut self, finding: Finding) {
        self.results.push(Outcome::Found(finding));
    }
}

pub(super) fn run(
    typed: &args::Check,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Check {
        namespace: named,
        all_namespaces: _,
        output: format,
        strictness,
        connection,
        manager,
        settings: flags,
    } = typed;
    // The whole cluster, unless a namespace is named.
    let scope = named.as_deref().map(namespace).transpose()?;
    settings(flags, environment)?;
    let cluster = Cluster::connect_only(connection, environment)?;
    let (live, rest) = read(&cluster, scope.as_ref());
    let unread = nothing_read(&live, &rest);
    if let Some(limit) = &unread
        && limit.why != Why::Forbidden
    {
        return Err(limit.failure(cluster.server()));
    }
    let everything = !live.values().any(|found| matches!(found, Found::Limited(_)));

    let bindings = live.get(&Resource::Kind(Kind::Binding)).map(Found::items).unwrap_or_default();
    let chosen = with_status(flags, environment, settings::live(bindings))?;
    let about = About { namespace: scope.as_ref(), id: None };
    let chosen = completed_by_cluster(
        chosen,
        flags,
        environment,
        about,
        &cluster,
        [Some(rest.deployments.items()), outputs_of(&live)],
    );
    let chosen = compared(chosen, flags, environment, &rest);
    let mut groups =
        vec![definitions(&live, &rest.definitions), operator(&rest, &chosen.settings.different())];
    let reported = chosen.reported;
    let mut permissions = Group::new("permissions");
    limits(&live, &rest, &mut permissions);

    let home = scope.clone().unwrap_or_else(|| cluster.namespace().clone());
    let declared = Declared::over(live, Files::default(), &home, chosen.settings.clone());
    let differences: Vec<Finding> =
        chosen.findings.iter().cloned().chain(chosen.unsaid(&declared.index)).collect();
    let assumption = chosen.assumption();
    let survey = Survey { declared, cluster: Some(cluster), scope, remark: chosen.remark, assumption };
    let known = KnownManager::of(&survey, manager)?;
    let sight = Sight::of(&survey.declared, survey.cluster.is_some(), known);
    let deployments = rest.deployments.items();
    let unwatched = deployment::unwatched(deployments, &survey.declared.index, survey.scope.as_ref());
    unwatched.into_iter().for_each(|finding| groups[1].found(finding));
    if reported || matches!(rest.deployments, Found::All(_)) {
        let scene = sight.scene(&survey.declared, survey.scope.as_ref());
        left(&scene, deployments).into_iter().for_each(|finding| groups[1].found(finding));
    }
    groups.push(spire(&survey, &sight, differences, rest.deployments.items()));
    groups.push(identities(&survey, &sight, everything));
    let limited = |code| matches!(code, Code::LimitedByRbac | Code::Unreadable);
    let found = groups.iter().flat_map(|group| &group.results);
    let elsewhere = found.filter(|result| matches!(result, Outcome::Found(finding) if limited(finding.code)));
    if permissions.results.is_empty() && elsewhere.count() == 0 {
        permissions.fine("everything could be read");
    }
    groups.push(permissions);

    match format {
        None => print(&mut console.out, &groups)?,
        Some(format) => output::report(&mut console.out, *format, report_of(&groups))?,
    }
    console.out.flush()?;
    if let Some(remark) = &survey.remark {
        console.remark(remark);
    }
    if let Some(cluster) = survey.cluster.as_ref().filter(|_| console.verbose) {
        output::what_was_asked(console, cluster);
    }
    let (errors, warnings) = (count(&groups, Severity::Error), count(&groups, Severity::Warning));
    console.remark(&format!(
        "{}, {}",
        counted(errors, "error", "errors"),
        counted(warnings, "warning", "warnings")
    ));
    if let (Some(limit), Some(cluster)) = (unread, &survey.cluster) {
        return Err(Failure::Unusable {
            problems: vec![format!("{}: nothing could be read: no `list` is permitted", cluster.server())],
            hint: Some(limit.hint()),
        });
    }
    Ok(if errors > 0 || strictness.strict && warnings > 0 { Exit::Findings } else { Exit::Fine })
}

/// Why, when nothing at all could be read; a refusal before all else, because it can be mended kind by kind.
fn nothing_read(live: &Live, rest: &Rest) -> Option<Limit> {
    let mut limits = Vec::new();
    for found in live.values().chain([&rest.definitions, &rest.deployments]) {
        match found {
            Found::All(_) | Found::Absent => return None,
            Found::Limited(limit) => limits.push(limit),
            Found::NotAsked => {}
        }
    }
    let refused = limits.iter().find(|limit| limit.why == Why::Forbidden);
    refused.or(limits.first()).map(|limit| (*limit).clone())
}

/// What is read beside what the engine and SPIRE are seen by.
struct Rest {
    definitions: Found,
    deployments: Found,
    leases: Found,
}

fn read(cluster: &Cluster, scope: Option<&Namespace>) -> (Live, Rest) {
    let inputs = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output).map(Resource::Kind);
    let resources: Vec<Resource> = inputs.chain(BESIDE).collect();
    let mut collections: Vec<Collection> =
        resources.iter().map(|resource| Collection::of(*resource, scope)).collect();
    collections.extend([Collection::of(Resource::Definitions, None), operators()]);
    let mut found = cluster.lists(&collections);
    let deployments = found.pop().unwrap_or(Found::NotAsked);
    let definitions = found.pop().unwrap_or(Found::NotAsked);
    // Leases are many, so only those of the operator's namespaces are asked for.
    let homes: std::collections::BTreeSet<_> = deployments
        .items()
        .iter()
        .filter_map(|deployment| Namespace::parse(text(deployment, "/metadata/namespace")).ok())
        .collect();
    let leases: Vec<Collection> =
        homes.iter().map(|home| Collection::of(Resource::Leases, Some(home))).collect();
    let mut all = Vec::new();
    let mut limited = None;
    for found in cluster.lists(&leases) {
        match found {
            Found::All(items) => all.extend(items),
            other => limited = Some(other),
        }
    }
    let leases = match limited {
        Some(limited) => limited,
        None => Found::All(all),
    };
    (resources.into_iter().zip(found).collect(), Rest { definitions, deployments, leases })
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Which definitions are installed, and whether they serve the version that Kleym reads.
fn definitions(live: &Live, definitions: &Found) -> Group {
    let mut group = Group::new("definitions");
    let by_name: BTreeMap<&str, &Value> =
        definitions.items().iter().map(|object| (text(object, "/metadata/name"), object)).collect();
    let mut objectives = 0;
    let mut pools = 0;
    for kind in Kind::ALL {
        let name = kind.crd_name();
        let version = kind.version();
        let listed = matches!(live.get(&Resource::Kind(kind)), Some(Found::All(_)));
        let absent = matches!(live.get(&Resource::Kind(kind)), Some(Found::Absent));
        if listed {
            group.fine(format!("{name} serves {version}"));
            objectives += usize::from(matches!(kind, Kind::Objective(_)));
            pools += usize::from(matches!(kind, Kind::Pool(_)));
        } else if absent {
            match kind {
                Kind::Binding => group.found(
                    Finding::new(
                        Code::DefinitionNotServed,
                        format!("`{name}` is not installed, so there can be no bindings"),
                    )
                    .hint("install Kleym by its chart or its manifests, which bring it; by itself: `kleym crd | kubectl apply --server-side -f -`"),
                ),
                Kind::Output => group.found(
                    Finding::new(
                        Code::ClusterSpiffeIdCrdMissing,
                        format!("`{name}` is not installed, so no identity can be granted"),
                    )
                    .hint("install spire-controller-manager with its CustomResourceDefinitions"),
                ),
                Kind::Objective(_) | Kind::Pool(_) => {}
            }
        } else if let Some(definition) = by_name.get(name.as_str()) {
            let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
            let served = versions
                .into_iter()
                .flatten()
                .filter(|v| v.get("served").and_then(Value::as_bool) == Some(true));
            let served: Vec<&str> = served.map(|version| text(version, "/name")).collect();
            if !served.contains(&version) {
                let serves = match served.as_slice() {
                    [] => "no version at all".to_owned(),
                    served => format!("{}, but not {version}", quoted_list(served.iter().copied())),
                };
                let message = format!("`{name}` serves {serves}");
                group.found(Finding::new(Code::DefinitionNotServed, message).hint(
                    "install a release that serves it, or a version of Kleym that reads what is served",
                ));
            }
        }
    }
    let unseen = |kinds: &[Kind]| {
        kinds.iter().any(|kind| matches!(live.get(&Resource::Kind(*kind)), Some(Found::Limited(_))))
    };
    let of = |wanted: fn(&Kind) -> bool| Kind::ALL.into_iter().filter(wanted).collect::<Vec<Kind>>();
    if pools == 0 && !unseen(&of(|kind| matches!(kind, Kind::Pool(_)))) {
        group.found(
            Finding::new(
                Code::InferencePoolCrdMissing,
                "no CustomResourceDefinition of InferencePool is installed",
            )
            .hint("install the Gateway API Inference Extension"),
        );
    }
    if objectives == 0 && pools > 0 && !unseen(&of(|kind| matches!(kind, Kind::Objective(_)))) {
        group.fine("no InferenceObjective is installed: bindings can target pools (`mode: PoolOnly`)");
    }
    group
}

/// SCM's settings against the operators'.
fn spire(survey: &Survey, sight: &Sight, differences: Vec<Finding>, deployments: &[Value]) -> Group {
    let mut group = Group::new("SPIRE");
    let index = &survey.declared.index;
    let scene = sight.scene(&survey.declared, survey.scope.as_ref());
    differences.into_iter().for_each(|finding| group.found(finding));
    sight.findings.iter().cloned().for_each(|finding| group.found(finding));
    for at in scene.world.managers().filter_map(|manager| manager.at.as_ref()) {
        group.fine(format!("the settings of spire-controller-manager were read from {at}"));
    }
    let used = index.settings_in_use();
    for settings in &used {
        let manager = managing(scene.world, settings);
        let it = match &manager.at {
            Some(at) if !scene.world.others.is_empty() => format!("that of {at}"),
            _ => "it".to_owned(),
        };
        let outputs = match used.len() {
            1 => "outputs".to_owned(),
            _ => format!("outputs of the instance `{}`", settings.instance),
        };
        let deployment = of_instance(deployments, settings.instance.as_str());
        fitting(&mut group, &scene, settings, deployment, manager, [&it, &outputs]);
    }
    let manager_ignores = |space: &str| {
        let namespace = Namespace::parse(space).ok();
        let settings = namespace.as_ref().map_or(index.settings(), |namespace| index.settings_in(namespace));
        managing(scene.world, settings).ignores(space).0
    };
    let assumed = scene.world.managers().any(|manager| manager.assumed.ignored);
    let mut spaces: Vec<&str> =
        survey.declared.index.bindings().map(|binding| binding.key.namespace.as_str()).collect();
    spaces.dedup();
    let ignored: Vec<&str> =
        spaces.iter().copied().filter(|space| manager_ignores(space).certain()).collect();
    let untold = assumed || spaces.iter().any(|space| manager_ignores(space) == Answer::Unknown);
    if !ignored.is_empty() {
        group.found(
            Finding::new(
                Code::NamespaceIgnored,
                format!("it ignores namespaces with bindings: {}", quoted_list(ignored)),
            )
            .hint("see `ignoreNamespaces` in its configuration: the patterns are searched for anywhere in the name"),
        );
    } else if untold {
        // Which pattern cannot be read, or that none is known, was said above.
    } else if !spaces.is_empty() {
        group.fine("it ignores no namespace that has bindings");
    }
    let fallbacks: Vec<&str> = scene
        .world
        .registrations
        .iter()
        .filter(|object| object.fallback && object.problem.is_none())
        .filter(|object| scene.world.managers().any(|manager| manager.watches(object).0.possible()))
        .map(|object| &*object.name)
        .collect();
    if matches!(survey.declared.beside(Resource::Kind(Kind::Output)), Found::Limited(_)) {
        // Told with the permissions; what could not be listed may hold fallbacks.
    } else if fallbacks.is_empty() {
        group.fine("no ClusterSPIFFEID is a fallback that bindings could displace");
    } else {
        group.fine(format!(
            "{} {}: a pod that a binding selects loses it for all its containers",
            quoted_list(fallbacks.iter().copied()),
            if fallbacks.len() == 1 { "is a fallback identity" } else { "are fallback identities" }
        ));
    }
    group
}

/// The SCM that is for the outputs of an operator: it watches their class; of several that do, one of their trust domain.
fn managing<'a>(world: World<'a>, settings: &Settings) -> &'a Manager {
    let class: Option<Box<str>> = settings.class_name.as_ref().map(|class| class.as_str().into());
    world.manager_of(&Registration {
        class_name: class.clone().unwrap_or_default(),
        class_label: class,
        spiffe_id: Template::parse(&format!("spiffe://{}/", settings.trust_domain)),
        ..Registration::default()
    })
}

/// Whether the outputs of an operator are what an SCM watches and serves.
fn fitting(
    group: &mut Group,
    scene: &Scene<'_>,
    settings: &Settings,
    deployment: Option<&Value>,
    manager: &Manager,
    [it, outputs]: [&str; 2],
) {
    let flags = [CLASS_FLAG, TRUST_DOMAIN_FLAG].into_iter();
    let variables = flags.filter(|flag| deployment.is_some_and(|one| configured(one, flag).variable));
    let operator = Called::of(settings).with_variables(variables);
    // What was only assumed is no fact to show.
    if let Some(class) = manager.class.as_ref().filter(|_| !manager.assumed.class) {
        let ours = settings.class_name.as_ref().map(|class| class.as_str()).unwrap_or_default();
        if *class.name == *ours || ours.is_empty() && class.classless {
            group.fine(format!("{it} watches {class}, and that is what {outputs} have"));
        } else {
            let shown =
                if ours.is_empty() { "no class".to_owned() } else { format!("class {}", Quoted(ours)) };
            let message = format!("{it} watches {class}, but {outputs} have {shown}");
            let hint = operator.start_with_class(scene, settings, class);
            group.found(Finding::new(Code::ClassNotWatched, message).hint(hint));
        }
    }
    match manager.trust_domain.as_deref().filter(|_| !manager.assumed.trust_domain) {
        Some(theirs) if theirs != settings.trust_domain.as_str() => group.found(
            Finding::new(
                Code::TrustDomainDiffers,
                format!(
                    "{it} serves trust domain {}, but {outputs} have `{}`",
                    Quoted(theirs),
                    settings.trust_domain
                ),
            )
            .hint(operator.start_with_trust_domain(scene, settings, theirs)),
        ),
        Some(theirs) => group.fine(format!("{it} serves trust domain {theirs}, and so do {outputs}")),
        None => {}
    }
}

/// What is to be said of bindings and outputs: one line a code.
fn identities(survey: &Survey, sight: &Sight, everything: bool) -> Group {
    let mut group = Group::new("identities");
    let index = &survey.declared.index;
    if index.availability(Kind::Binding).known == Known::Nothing {
        return group;
    }
    let scene = sight.scene(&survey.declared, survey.scope.as_ref());
    let bindings = index.bindings().count();
    let mut found = report::everything(&scene);
    // What holds of every output alike was said with SPIRE.
    let said = [Code::ClassNotWatched, Code::TrustDomainDiffers, Code::NamespaceIgnored];
    found.retain(|finding| finding.severity() != Severity::Info && !said.contains(&finding.code));
    // The most serious first, however many of the others there are.
    let mut by_code: BTreeMap<(Severity, Code), Vec<Finding>> = BTreeMap::new();
    for finding in found {
        by_code.entry((finding.severity(), finding.code)).or_default().push(finding);
    }
    if by_code.is_empty() && everything {
        group.fine(format!("nothing is wrong with {}", counted(bindings, "binding", "bindings")));
    }
    for ((_, code), findings) in by_code {
        let Some(first) = findings.first().cloned() else { continue };
        group.found(match findings.len() {
            1 => first,
            several => {
                let mut all = Finding::new(
                    code,
                    format!("{} ({several} times); the first: {}", code.summary(), first.message),
                );
                all.hint = first.hint;
                all.references = findings.into_iter().flat_map(|finding| finding.references).collect();
                all
            }
        });
    }
    group
}

fn limits(live: &Live, rest: &Rest, group: &mut Group) {
    let all = live.values().chain([&rest.definitions, &rest.deployments, &rest.leases]);
    for found in all {
        if let Found::Limited(limit) = found {
            group.found(limit.finding());
        }
    }
}

fn count(groups: &[Group], severity: Severity) -> usize {
    let results = groups.iter().flat_map(|group| &group.results);
    results
        .filter(|result| matches!(result, Outcome::Found(finding) if finding.severity() == severity))
        .count()
}

fn print(out: &mut dyn Write, groups: &[Group]) -> io::Result<()> {
    for group in groups.iter().filter(|group| !group.results.is_empty()) {
        writeln!(out, "{}", group.name)?;
        for result in &group.results {
            match result {
                Outcome::Fine(says) => writeln!(out, "  ok    {says}")?,
                Outcome::Found(finding) => {
                    let mark = match finding.severity() {
                        Severity::Error => "FAIL",
                        Severity::Warning => "warn",
                        Severity::Info => "info",
                    };
                    writeln!(out, "  {mark}  {} {}", finding.code, finding.message)?;
                    if let Some(hint) = &finding.hint {
                        writeln!(out, "        fix: {hint}")?;
                    }
                    writeln!(out, "        see: {}", finding.code.page())?;
                }
            }
        }
    }
    Ok(())
}

fn report_of(groups: &[Group]) -> CheckReport {
    let result = |result: &Outcome| match result {
        Outcome::Fine(says) => CheckResult { says: says.clone(), finding: None },
        Outcome::Found(finding) => {
            CheckResult { says: finding.message.clone(), finding: Some(FindingEntry::from(finding)) }
        }
    };
    let groups = groups.iter().map(|group| CheckGroup {
        name: group.name.to_owned(),
        results: group.results.iter().map(result).collect(),
    });
    CheckReport { groups: groups.collect() }
}
