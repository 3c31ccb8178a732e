//! From a resolved binding to its identity: one SPIFFE ID and one proved selector set. A pure function; the stages
//! run in the order in which failures are reported.

use std::sync::Arc;

use crate::fact::{BindingSpec, Mode, Target};
use crate::name::{BindingKey, ObjectName};
use crate::refusal::Refusal;
use crate::resolve::{Resolved, ResolvedPool};
use crate::selector::{Item, SelectorSet};
use crate::settings::Settings;
use crate::spiffe::{self, SpiffeId, Truth};
use crate::template::{Placeholder, Template};

/// What an identity is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The objective, in PerObjective.
    Objective(ObjectName),
    /// The resolved pool, in PoolOnly.
    Pool(ObjectName),
}

/// A SPIFFE ID with its selector set, and what both are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The mode it was rendered in.
    pub mode: Mode,
    /// What it is of.
    pub subject: Subject,
    /// The pool it stays inside.
    pub pool: ResolvedPool,
    /// The SPIFFE ID.
    pub spiffe_id: SpiffeId,
    /// The canonical selector set.
    pub selectors: SelectorSet,
}

impl Identity {
    /// Keeps once what it has in common with another identity's, or a grant's, SPIFFE ID and items.
    pub(crate) fn share(&mut self, spiffe_id: &Arc<str>, items: &Arc<[Item]>) {
        self.spiffe_id.share(spiffe_id);
        self.selectors.share(items);
    }

    /// Whether two identities of one namespace are of the same subject: same kind and name, same pool.
    pub fn same_subject(&self, other: &Identity) -> bool {
        self.subject == other.subject && self.pool == other.pool
    }
}

/// Renders an identity.
///
/// # Errors
/// The first stage that fails: mode and discriminator, selector templates, selector proof, SPIFFE ID.
pub fn render(
    settings: &Settings,
    binding: &BindingKey,
    spec: &BindingSpec,
    resolved: &Resolved,
) -> Result<Identity, Refusal> {
    let discriminator = discriminator(spec, resolved)?;
    let objective = resolved.objective.as_ref().map(|(name, _)| name);
    let pool = Some(&resolved.pool.name);
    let value = |placeholder| value_of(placeholder, settings, binding, spec, objective, pool);

    let mut rendered = Vec::with_capacity(spec.selector_templates.len());
    for (index, source) in spec.selector_templates.iter().enumerate() {
        let text = Template::parse(source).and_then(|template| template.render(value));
        rendered.push(text.map_err(|error| Refusal::SelectorTemplate { index, error })?);
    }

    let mut items = Vec::with_capacity(rendered.len() + resolved.pool.labels.len() + 1);
    for (index, text) in rendered.iter().enumerate() {
        let item = Item::parse(text);
        items.push(item.map_err(|error| Refusal::SelectorItem {
            index,
            rendered: text.as_str().into(),
            error,
        })?);
    }
    for (key, value) in resolved.pool.labels.iter() {
        let item = Item::parse(&format!("k8s:pod-label:{}:{}", key.as_str(), value.as_str()));
        // The labels passed the same check when the pool was read; should the two ever differ, refuse.
        items.push(item.map_err(|error| Refusal::PoolSelector {
            group: resolved.pool_group,
            pool: resolved.pool.name.clone(),
            error: crate::fact::PoolSelectorError::Item { key: key.as_str().into(), error },
        })?);
    }
    items.extend(discriminator);
    let selectors = SelectorSet::prove(items, &binding.namespace).map_err(Refusal::SelectorSet)?;

    let subject = match (spec.mode, &resolved.objective) {
        (Mode::PerObjective, Some((objective, _))) => Subject::Objective(objective.clone()),
        _ => Subject::Pool(resolved.pool.name.clone()),
    };
    let text = spiffe_id_text(settings, binding, spec, &subject, value)?;
    let truth = Truth {
        namespace: &binding.namespace,
        service_account: selectors.service_account(),
        objective: match &subject {
            Subject::Objective(name) => Some(name),
            Subject::Pool(_) => None,
        },
        pool: &resolved.pool.name,
    };
    let spiffe_id =
        spiffe::check(&text, &settings.trust_domain, &settings.path_grants, truth).map_err(|error| {
            let templated = spec.spiffe_id_template.is_some();
            Refusal::SpiffeId { rendered: text.into(), templated, error }
        })?;
    Ok(Identity { mode: spec.mode, subject, pool: resolved.pool.clone(), spiffe_id, selectors })
}

/// The SPIFFE ID that a binding asks for, as text, as far as its target is known: to find a binding that has none by what
/// it would have. It is not checked and grants nothing.
pub fn asked_for(
    settings: &Settings,
    binding: &BindingKey,
    spec: &BindingSpec,
    resolved: Option<&Resolved>,
) -> Option<String> {
    let (objective, pool) = match (&spec.target, resolved) {
        (Target::Objective { name, .. }, resolved) => (Some(name), resolved.map(|to| &to.pool.name)),
        (Target::Pool { name, .. }, _) => (None, Some(name)),
    };
    let subject = match (spec.mode, objective) {
        (Mode::PerObjective, Some(objective)) => Some(Subject::Objective(objective.clone())),
        _ => pool.map(|pool| Subject::Pool(pool.clone())),
    };
    let value = |placeholder| value_of(placeholder, settings, binding, spec, objective, pool);
    spiffe_id_text(settings, binding, spec, &subject?, value).ok()
}

/// The stage of mode and discriminator: the discriminator's item, in PerObjective.
fn discriminator(spec: &BindingSpec, resolved: &Resolved) -> Result<Option<Item>, Refusal> {
    match (spec.mode, &spec.discriminator) {
        (Mode::PerObjective, _) if resolved.objective.is_none() => Err(Refusal::PoolTargetPerObjective),
        (Mode::PerObjective, None) => Err(Refusal::MissingDiscriminator),
        (Mode::PoolOnly, Some(_)) => Err(Refusal::DiscriminatorInPoolOnly),
        (Mode::PoolOnly, None) => Ok(None),
        (Mode::PerObjective, Some(discriminator)) => {
            let text = format!("{}:{}", discriminator.kind.selector_key(), discriminator.value);
            Item::parse(&text)
                .map(Some)
                .map_err(|error| Refusal::Discriminator { value: discriminator.value.clone(), error })
        }
    }
}

fn spiffe_id_text<'v>(
    settings: &Settings,
    binding: &BindingKey,
    spec: &BindingSpec,
    subject: &Subject,
    value: impl Fn(Placeholder) -> Option<&'v str>,
) -> Result<String, Refusal> {
    if let Some(source) = &spec.spiffe_id_template {
        let text = Template::parse(source).and_then(|template| template.render(value));
        return text.map_err(Refusal::SpiffeIdTemplate);
    }
    let (kind, name) = match subject {
        Subject::Objective(name) => ("objective", name),
        Subject::Pool(name) => ("pool", name),
    };
    Ok(format!("spiffe://{}/ns/{}/{kind}/{name}", settings.trust_domain, binding.namespace))
}

fn value_of<'a>(
    placeholder: Placeholder,
    settings: &'a Settings,
    binding: &'a BindingKey,
    spec: &'a BindingSpec,
    objective: Option<&'a ObjectName>,
    pool: Option<&'a ObjectName>,
) -> Option<&'a str> {
    match placeholder {
        Placeholder::Namespace => Some(binding.namespace.as_str()),
        Placeholder::BindingName => Some(binding.name.as_str()),
        Placeholder::ObjectiveName => objective.map(ObjectName::as_str),
        Placeholder::PoolName => pool.map(ObjectName::as_str),
        Placeholder::Mode => Some(spec.mode.as_str()),
        Placeholder::ContainerDiscriminatorType => spec.discriminator.as_ref().map(|d| d.kind.as_str()),
        Placeholder::ContainerDiscriminatorValue => spec.discriminator.as_ref().map(|d| &*d.value),
        Placeholder::TrustDomain => Some(settings.trust_domain.as_str()),
    }
}
