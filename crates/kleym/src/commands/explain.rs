//! `kleym explain`: the chain from a pod's labels to SPIRE, for a pod, a binding or a SPIFFE ID, up to the first link that
//! is broken. What is said comes from the engine (`kleym_core::explain`); here it is asked for and printed.

mod again;
mod metadata;
mod page;
mod process;
mod show;
mod subject;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io::Write;

use jiff::Timestamp;
use kleym_api::decode;
use kleym_core::explain::{self, Chain, Explanation, Operator};
use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, ObjectName};
use kleym_core::report::{CLASS_FLAG, Code, Finding, PATH_GRANT_FLAG, Severity, TRUST_DOMAIN_FLAG};
use kleym_core::settings::given::Environment;
use kleym_core::spire::{Answer, Manager};
use serde_json::Value;

use self::again::Again;
use self::subject::{Subject, Unanswered};
use crate::args;
use crate::console::Console;
use crate::declared::Told;
use crate::deployment::{
    OPERATOR_LABELS, Watched, all_configured, configured, instance_of, pods_not_ready, watched,
};
use crate::exit::{Exit, Failure};
use crate::manager::KnownManager;
use crate::output;
use crate::reports::{ExplainReport, FindingEntry};
use crate::sight::{BESIDE_AND_OPERATORS, Sight, reported};
use crate::source::cluster::{Collection, Found, Resource};
use crate::survey::{Question, Survey};

pub(super) fn run(
    typed: &args::Explain,
    console: &mut Console,
    environment: Environment<'_>,
) -> Result<Exit, Failure> {
    let args::Explain { what, name, container, input, output: format, manager, settings } = typed;
    if let Some(code) = page::code(what).filter(|_| name.is_none()) {
        if format.is_some() {
            return Err(Failure::unusable(format!("{code} is explained in words only: leave -o out")));
        }
        page::print(&mut console.out, code)?;
        console.out.flush()?;
        return Ok(Exit::Fine);
    }
    let subject = Subject::parse(what, name.as_deref())?;
    let again = Again::of(input, manager, settings);
    let flags = settings;
    let input = args::Input { scope: subject.scope(&input.scope), ..input.clone() };
    let question = Question { input: &input, settings, beside: &BESIDE_AND_OPERATORS, id: subject.id_text() };
    let survey = Survey::of(question, environment)?;
    let known = KnownManager::of(&survey, manager)?;
    let live = survey.cluster.is_some();
    let sight = Sight::of(&survey.declared, live, known);
    let scene = sight.scene(&survey.declared, survey.scope.as_ref());
    let status = |key: &BindingKey| survey.declared.status(key).and_then(reported);
    let deletion_of = |object: &Value| metadata::deletion(object, Timestamp::now().as_second());
    let deletion = |key: &BindingKey| survey.declared.as_written(key).and_then(deletion_of);
    let written = |name: &ObjectName| {
        let mut outputs = survey.declared.beside(Resource::Kind(Kind::Output)).items().iter();
        outputs.find(|output| decode::Meta::of(output).name() == Some(name.as_str()))
    };
    let output_deletion = |name: &ObjectName| written(name).and_then(deletion_of);
    let made = |name: &ObjectName| written(name).map(metadata::made);
    let definition = || metadata::definition(&survey);
    // A cluster is asked once, however many outputs are not as they should be.
    let known = OnceCell::new();
    let operators = || known.get_or_init(|| operators(&survey)).clone();
    let manager_at = |scm: &Manager, field: &str| {
        let read = || scm.at.as_deref().unwrap_or("spire-controller-manager").to_owned();
        manager.flag_of(field).map_or_else(read, |flag| format!("flag {flag}"))
    };
    let process = |scm: &Manager| process::process(&survey, scm);
    let question = explain::Question {
        scene,
        status: &status,
        deletion: &deletion,
        output_deletion: &output_deletion,
        made: &made,
        definition: &definition,
        live,
        time,
        operators: &operators,
        process: &process,
        manager_at: &manager_at,
        container: container.as_deref(),
    };
    if let (Subject::Pod(_), Found::Limited(limit)) = (&subject, survey.declared.beside(Resource::Pods)) {
        return Err(Failure::Unusable { problems: vec![limit.message()], hint: Some(limit.hint()) });
    }
    if console.verbose {
        output::what_was_looked_at(console, &survey, &sight, flags, environment);
    }
    // What could not be parsed comes first: whatever is said after it was said without that.
    let (unparsed, mut told) = read(&survey);
    output::tell(console, &survey.declared.files, &unparsed);
    if !unparsed.is_empty() {
        console.remark(INCOMPLETE);
    }
    drop(console.err.flush());
    let mut answered = match subject.answer(&question, &survey) {
        Ok(answered) => answered,
        Err(Unanswered::Several(failure)) => return Err(failure),
        Err(Unanswered::NotThere { message, help }) => {
            if let Some(problem) = subject.problem() {
                return Err(problem);
            }
            console.remark(&format!("error: {message}{}", if unparsed.is_empty() { "" } else { SO_FAR }));
            if let Some(help) = help {
                console.remark(&format!("  = help: {help}"));
            } else if typed.input.scope.namespace.is_none()
                && let Some(only) = &survey.scope
            {
                console.remark(&format!(
                    "  = help: only namespace `{only}` was looked at: name another with -n, or look in all of them with -A"
                ));
            }
            let assumption: Vec<Finding> =
                survey.assumption.iter().filter(|one| !said(&told, one)).cloned().collect();
            beside(console, &survey, &sight, told, &assumption);
            return Ok(Exit::NotFound);
        }
    };
    if let Some(assumption) = &survey.assumption {
        // Data say it, too, whether or not there is a binding.
        told.retain(|told| told.finding != *assumption);
        answered.explanation.findings.push(assumption.clone());
        say_maybe(&mut answered.explanation, &sight);
    }
    again.fit(&mut answered.explanation);
    match format {
        None => show::print(&mut console.out, &answered, &again, show::Marks::of(environment))?,
        Some(format) => {
            let unparsed = FindingEntry::all(&survey.declared.files, &unparsed);
            let report = ExplainReport::of(&subject.to_string(), &answered.explanation, unparsed);
            output::report(&mut console.out, *format, report)?;
        }
    }
    console.out.flush()?;
    if let Some(remark) = &survey.remark {
        console.remark(remark);
    }
    beside(console, &survey, &sight, told, &answered.explanation.findings);
    let Explanation { chains, claims, .. } = &answered.explanation;
    let refused = claims.iter().any(|claim| claim.why.severity() == Severity::Error);
    let broken = refused || chains.iter().any(Chain::is_broken);
    Ok(if broken || !unparsed.is_empty() { Exit::Findings } else { Exit::Fine })
}

/// What an answer is worth when a file could not be parsed.
const INCOMPLETE: &str = "note: what stands in a file that cannot be parsed is not known, so this answer may be incomplete or wrong";

/// The same, of something that was not found.
const SO_FAR: &str = " in what could be parsed";

/// What is to be said of the reading: what could not be parsed, and the rest.
fn read(survey: &Survey) -> (Vec<Told>, Vec<Told>) {
    let told = survey.declared.told(Vec::new(), |_| false);
    told.into_iter().partition(|told| told.finding.code == Code::Unparsable)
}

/// Where nobody says a trust domain, no SPIFFE ID is certain into which one is yet to be filled.
fn say_maybe(explanation: &mut Explanation, sight: &Sight) {
    let world = sight.world();
    let open: BTreeSet<&str> = world
        .registrations
        .iter()
        .filter(|object| object.spiffe_id.literal().is_none())
        .filter(|object| world.manager_of(object).assumed.trust_domain)
        .map(|object| &*object.name)
        .collect();
    for given in &mut explanation.given {
        let identities = std::mem::take(&mut given.identities).into_iter();
        given.identities = identities
            .map(|(id, from, answer)| {
                let answer = if open.contains(&*from) { answer.and(Answer::Unknown) } else { answer };
                (id, from, answer)
            })
            .collect();
    }
}

fn said(told: &[Told], finding: &Finding) -> bool {
    told.iter().any(|told| told.finding == *finding)
}

/// Says what is to be said beside the chain.
fn beside(console: &mut Console, survey: &Survey, sight: &Sight, read: Vec<Told>, findings: &[Finding]) {
    let mut all = read;
    all.extend(sight.findings.iter().chain(findings).cloned().map(Told::alone));
    all.sort_by_key(|told| told.finding.severity());
    output::tell(console, &survey.declared.files, &all);
}

/// A time as Kubernetes writes it.
fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// The Deployments of operators, in the files or the cluster; none where they may not be listed.
fn operators(survey: &Survey) -> Vec<Operator> {
    let of = |deployment: &Value, pods: &[Value]| {
        let meta = decode::Meta::of(deployment);
        let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_i64);
        let status = deployment.get("status").filter(|status| !status.is_null());
        Some(Operator {
            namespace: meta.namespace()?.to_owned(),
            name: meta.name()?.to_owned(),
            instance: instance_of(deployment).to_owned(),
            replicas: number("/spec/replicas").unwrap_or(1),
            ready: status.map(|_| number("/status/readyReplicas").unwrap_or(0)),
            class_name: configured(deployment, CLASS_FLAG),
            trust_domain: configured(deployment, TRUST_DOMAIN_FLAG),
            path_grants: all_configured(deployment, PATH_GRANT_FLAG),
            watches: match watched(deployment) {
                Watched::These(names) => Some(names),
                Watched::All | Watched::Elsewhere => None,
            },
            pods: pods_not_ready(deployment, pods),
        })
    };
    match &survey.cluster {
        None => {
            let pods = survey.declared.beside(Resource::Pods).items();
            let all = survey.declared.beside(Resource::Deployments).items().iter();
            all.filter_map(|deployment| of(deployment, pods)).collect()
        }
        Some(cluster) => {
            let pods = Collection {
                labels: Some(OPERATOR_LABELS.to_owned()),
                ..Collection::of(Resource::Pods, None)
            };
            let lists = cluster.lists(&[pods]);
            let [pods] = lists.as_slice() else { return Vec::new() };
            let deployments = survey.declared.beside(Resource::Deployments).items().iter();
            deployments.filter_map(|deployment| of(deployment, pods.items())).collect()
        }
    }
}
