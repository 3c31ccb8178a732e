//! What a command looks at: files, a cluster, or files laid over a cluster, read into one [`Declared`]. In a cluster
//! every kind costs one paged list; what cannot be read becomes a finding, and the rest is still looked at.

use std::collections::BTreeMap;

use kleym_core::kind::Kind;
use kleym_core::name::{BindingKey, Namespace, describe};
use kleym_core::report::Finding;
use kleym_core::settings::given::Environment;
use serde_json::Value;

use crate::args;
use crate::declared::{Declared, Live};
use crate::deployment::{self, OPERATOR_LABELS};
use crate::exit::Failure;
use crate::settings::{self, About, Chosen, Source, settings, with_status};
use crate::source::Files;
use crate::source::cluster::{Cluster, Collection, Found, Resource, Why};

/// What a command needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Where the objects are.
    pub(crate) input: &'a args::Input,
    /// Engine settings.
    pub(crate) settings: &'a args::Settings,
    /// What is read beside what the engine reads.
    pub(crate) beside: &'a [Resource],
    /// The SPIFFE ID that is asked for, if one is.
    pub(crate) id: Option<&'a str>,
}

/// What was found.
pub(crate) struct Survey {
    /// Everything that is declared.
    pub(crate) declared: Declared,
    /// The cluster, when one was asked.
    pub(crate) cluster: Option<Cluster>,
    /// The only namespace that is looked at; `None` for all of them.
    pub(crate) scope: Option<Namespace>,
    /// Where the settings come from, when they were not given.
    pub(crate) remark: Option<String>,
    /// That the trust domain is only assumed, when that is so.
    pub(crate) assumption: Option<Finding>,
}

/// Every kind that the engine reads.
pub(crate) fn inputs() -> impl Iterator<Item = Resource> {
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Output).map(Resource::Kind)
}

impl Survey {
    /// Reads what a command needs.
    ///
    /// # Errors
    /// What is wrong with flags, files or the connection. That bindings cannot be listed is one of these, too: nothing
    /// could be said without them.
    pub(crate) fn of(question: Question<'_>, environment: Environment<'_>) -> Result<Self, Failure> {
        let Question { input, settings: typed, beside, id } = question;
        let args::Input { filename, recursive, scope, connection } = input;
        let named = scope.namespace.as_deref().map(namespace).transpose()?;
        // Wrong flags are told before a file is read or a cluster is asked for anything.
        settings(typed, environment)?;
        if !filename.is_empty() {
            let home = named.clone().unwrap_or_else(default_namespace);
            let files = Files::read(filename, *recursive)?;
            let about = About { namespace: named.as_ref(), id: None };
            let survey = Self::of_files(files, &home, typed, environment)?;
            let survey = survey.completed_by_files(&home, typed, environment, about)?;
            return Ok(Self { scope: named, ..survey });
        }
        let cluster = Cluster::connect(connection, environment)?;
        let home = named.unwrap_or_else(|| cluster.namespace().clone());
        let scope = (!scope.all_namespaces).then(|| home.clone());
        let live = read(&cluster, scope.as_slice(), beside)?;
        let bindings = live.get(&Resource::Kind(Kind::Binding)).map(Found::items).unwrap_or_default();
        let chosen = with_status(typed, environment, settings::live(bindings))?;
        let about = About { namespace: scope.as_ref(), id };
        let deployments = beside
            .contains(&Resource::Deployments)
            .then(|| live.get(&Resource::Deployments).map(Found::items).unwrap_or_default());
        // A table of no bindings rests on no setting.
        let outputs = outputs_of(&live);
        let chosen = if bindings.is_empty() && outputs.is_none() {
            chosen
        } else {
            completed_by_cluster(chosen, typed, environment, about, &cluster, [deployments, outputs])
        };
        let mut declared = Declared::over(live, Files::default(), &home, chosen.settings.clone());
        declared.remark(chosen.unsaid(&declared.index));
        let assumption = chosen.assumption();
        declared.remark(chosen.findings);
        let unwatched = deployment::unwatched(
            declared.beside(Resource::Deployments).items(),
            &declared.index,
            scope.as_ref(),
        );
        declared.remark(unwatched);
        Ok(Self { declared, cluster: Some(cluster), scope, remark: chosen.remark, assumption })
    }

    /// What files say of the operator beside the status of bindings: its Deployment, and its outputs.
    fn completed_by_files(
        self,
        home: &Namespace,
        typed: &args::Settings,
        environment: Environment<'_>,
        about: About<'_>,
    ) -> Result<Self, Failure> {
        let reported = self.declared.reported().map(|(key, binding)| (key.namespace.as_str(), binding));
        let chosen = with_status(typed, environment, reported)?;
        let chosen = chosen.completed(typed, environment, about, &mut |source| match source {
            Source::Deployments => self.declared.beside(Resource::Deployments).items().to_vec(),
            Source::Bindings => Vec::new(),
            Source::Outputs => self.declared.beside(Resource::Kind(Kind::Output)).items().to_vec(),
        });
        let same = chosen.reported || *self.declared.index.settings_by_namespace() == chosen.settings;
        let mut survey = if same {
            self
        } else {
            let declared = Declared::read(self.declared.files.clone(), home, chosen.settings);
            Self { declared, remark: chosen.remark, ..self }
        };
        let declared = &mut survey.declared;
        let deployments = declared.beside(Resource::Deployments).items();
        let unwatched = deployment::unwatched(deployments, &declared.index, about.namespace);
        declared.remark(unwatched);
        Ok(survey)
    }

    /// What files alone say.
    ///
    /// # Errors
    /// Settings that cannot be used.
    pub(crate) fn of_files(
        files: Files,
        home: &Namespace,
        typed: &args::Settings,
        environment: Environment<'_>,
    ) -> Result<Self, Failure> {
        let mut remark = None;
        let mut chosen = None;
        let mut declared = Declared::settled(files, home, |reported| {
            let bindings = reported.iter().map(|(key, binding)| (key.namespace.as_str(), binding));
            let chosen = chosen.insert(with_status(typed, environment, bindings)?);
            Ok::<_, Failure>(chosen.settings.clone())
        })?;
        if let Some(chosen) = chosen {
            declared.remark(chosen.unsaid(&declared.index));
            declared.remark(chosen.findings);
            remark = chosen.remark;
        }
        Ok(Self { declared, cluster: None, scope: None, remark, assumption: None })
    }

    /// What a command that reads nothing but files needs.
    ///
    /// # Errors
    /// What is wrong with flags or files.
    pub(crate) fn of_source(
        source: &args::Source,
        typed: &args::Settings,
        environment: Environment<'_>,
    ) -> Result<Self, Failure> {
        let args::Source { filename, recursive, namespace: home } = source;
        let home = namespace(home)?;
        // Wrong flags are told before a file is read.
        settings(typed, environment)?;
        Self::of_files(Files::read(filename, *recursive)?, &home, typed, environment)
    }

    /// Whether a binding is looked at.
    pub(crate) fn covers(&self, binding: &BindingKey) -> bool {
        self.scope.as_ref().is_none_or(|scope| *scope == binding.namespace)
    }
}

/// The ClusterSPIFFEIDs that were read, when they were asked for.
pub(crate) fn outputs_of(live: &Live) -> Option<&[Value]> {
    live.get(&Resource::Kind(Kind::Output)).map(Found::items)
}

/// Completes settings by what a cluster holds beside the bindings that were read; Deployments and outputs may have been asked
/// for already.
pub(crate) fn completed_by_cluster(
    chosen: Chosen,
    typed: &args::Settings,
    environment: Environment<'_>,
    about: About<'_>,
    cluster: &Cluster,
    [deployments, outputs]: [Option<&[Value]>; 2],
) -> Chosen {
    let list = |collection: Collection| match cluster.lists(&[collection]).pop() {
        Some(Found::All(items)) => items,
        // What may not be read says nothing; the bindings that were asked for are there.
        _ => Vec::new(),
    };
    let read = |source| match source {
        Source::Deployments => deployments.map_or_else(|| list(operators()), <[Value]>::to_vec),
        // Without a namespace all of them were read.
        Source::Bindings if about.namespace.is_none() => Vec::new(),
        Source::Bindings => list(Collection::of(Resource::Kind(Kind::Binding), None)),
        Source::Outputs => outputs
            .map_or_else(|| list(Collection::of(Resource::Kind(Kind::Output), None)), <[Value]>::to_vec),
    };
    // Settings and path grants rest on the same: the cluster is asked for it once.
    let mut asked: BTreeMap<Source, Vec<Value>> = BTreeMap::new();
    let mut ask = |source| asked.entry(source).or_insert_with(|| read(source)).clone();
    chosen.completed(typed, environment, about, &mut ask).with_grants_elsewhere(
        typed,
        environment,
        about,
        &mut ask,
    )
}

/// The Deployments of Kleym's operators, wherever they are.
pub(crate) fn operators() -> Collection {
    Collection { labels: Some(OPERATOR_LABELS.to_owned()), ..Collection::of(Resource::Deployments, None) }
}

/// Lists everything side by side: in all namespaces, when none is named or when there are several; in each of several
/// where the whole is not permitted.
///
/// # Errors
/// When bindings cannot be listed.
pub(crate) fn read(cluster: &Cluster, scope: &[Namespace], beside: &[Resource]) -> Result<Live, Failure> {
    let resources: Vec<Resource> = inputs().chain(beside.iter().copied()).collect();
    let only = if let [only] = scope { Some(only) } else { None };
    let collection = |resource: &Resource| match resource {
        Resource::Deployments => operators(),
        resource => Collection::of(*resource, only),
    };
    let collections: Vec<Collection> = resources.iter().map(collection).collect();
    let mut live: Live = resources.into_iter().zip(cluster.lists(&collections)).collect();
    // Who looks at bindings seldom may look at Deployments too, and then nothing is said of the operator.
    if !matches!(live.get(&Resource::Deployments), Some(Found::All(_))) {
        live.remove(&Resource::Deployments);
    }
    if scope.len() > 1 {
        for (resource, found) in &mut live {
            let forbidden = matches!(found, Found::Limited(limit) if limit.why == Why::Forbidden);
            if forbidden && resource.namespaced() {
                let each: Vec<Collection> =
                    scope.iter().map(|namespace| Collection::of(*resource, Some(namespace))).collect();
                *found = together(cluster.lists(&each));
            }
        }
    }
    match live.get(&Resource::Kind(Kind::Binding)) {
        Some(Found::Limited(limit)) => Err(limit.failure(cluster.server())),
        Some(Found::Absent) => Err(Failure::Unusable {
            problems: vec![format!(
                "{} has no InferenceIdentityBindings: their CustomResourceDefinition is not installed",
                cluster.server()
            )],
            hint: Some("install Kleym, or print the definition with `kleym crd`".to_owned()),
        }),
        _ => Ok(live),
    }
}

/// Several lists of one resource as one: complete only when each of them is.
fn together(lists: Vec<Found>) -> Found {
    let mut all = Vec::new();
    for list in lists {
        match list {
            Found::All(objects) => all.extend(objects),
            other => return other,
        }
    }
    Found::All(all)
}

/// A namespace as it was typed.
pub(crate) fn namespace(text: &str) -> Result<Namespace, Failure> {
    Namespace::parse(text)
        .map_err(|error| Failure::unusable(format!("--namespace: {}", describe(text, &error))))
}

fn default_namespace() -> Namespace {
    match Namespace::parse("default") {
        Ok(namespace) => namespace,
        Err(_) => unreachable!("`default` is the name of a namespace"),
    }
}
