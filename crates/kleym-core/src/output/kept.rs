//! The live outputs of the cluster. Nearly every one stands exactly as Kleym writes it: of such a one only what it was
//! written from is kept, and the whole of it is made again whenever it is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{LiveOutput, OutputStats, WantedOutput, is_older, same_but_for_status};
use crate::grant::Grant;
use crate::name::{BindingKey, ObjectName, Uid};
use crate::settings::Settings;

/// A live output, as small as it can be kept.
#[derive(Debug, Clone)]
pub struct KeptOutput(Form);

/// Which form an output has depends on nothing but the output and the operator's settings.
#[derive(Debug, Clone)]
enum Form {
    AsWritten(Box<Written>),
    Otherwise(Arc<LiveOutput>),
}

/// What an output was written from that stands as Kleym writes it, and what the API server and
/// spire-controller-manager added.
#[derive(Debug, Clone)]
struct Written {
    name: ObjectName,
    binding: BindingKey,
    binding_uid: Uid,
    grant: Grant,
    uid: Uid,
    resource_version: Box<str>,
    created: Option<i64>,
    stats: Option<OutputStats>,
}

impl Written {
    /// Only if nothing of the output would be lost.
    fn of(settings: &Settings, live: &LiveOutput) -> Option<Self> {
        let (binding, binding_uid) = live.proven_binding(settings)?;
        let written = Self {
            name: live.name.clone(),
            binding,
            binding_uid,
            grant: Grant::of(live),
            uid: live.uid.clone(),
            resource_version: live.resource_version.clone(),
            created: live.created,
            stats: live.stats,
        };
        (written.live(settings) == *live).then_some(written)
    }

    fn live(&self, settings: &Settings) -> LiveOutput {
        let Self { name, binding, binding_uid, grant, uid, resource_version, created, stats } = self;
        let wanted =
            WantedOutput::granting(settings, binding, Some(binding_uid), &grant.spiffe_id, &grant.items);
        // The name is computed; the one that is kept may be shared.
        let wanted = WantedOutput { name: name.clone(), ..wanted };
        let live = LiveOutput::as_written(wanted, uid.clone(), resource_version, *created);
        LiveOutput { stats: *stats, ..live }
    }
}

impl KeptOutput {
    /// Makes an output as small as it can be.
    pub fn of(settings: &Settings, live: LiveOutput) -> Self {
        Self(match Written::of(settings, &live) {
            Some(written) => Form::AsWritten(Box::new(written)),
            None => Form::Otherwise(Arc::new(live)),
        })
    }

    /// The whole output; with the settings that it was made small with.
    pub fn live(&self, settings: &Settings) -> Arc<LiveOutput> {
        match &self.0 {
            Form::AsWritten(written) => Arc::new(written.live(settings)),
            Form::Otherwise(live) => Arc::clone(live),
        }
    }

    /// Its name.
    pub fn name(&self) -> &ObjectName {
        match &self.0 {
            Form::AsWritten(written) => &written.name,
            Form::Otherwise(live) => &live.name,
        }
    }

    /// Its uid.
    pub fn uid(&self) -> &Uid {
        match &self.0 {
            Form::AsWritten(written) => &written.uid,
            Form::Otherwise(live) => &live.uid,
        }
    }

    fn resource_version(&self) -> &str {
        match &self.0 {
            Form::AsWritten(written) => &written.resource_version,
            Form::Otherwise(live) => &live.resource_version,
        }
    }

    /// What it grants; nothing when it selects nothing.
    pub fn grant(&self) -> Option<Grant> {
        match &self.0 {
            Form::AsWritten(written) => Some(written.grant.clone()),
            Form::Otherwise(live) => (!live.selects_nothing()).then(|| Grant::of(live)),
        }
    }

    /// What is kept of what it grants, to be shared with others.
    pub fn grant_mut(&mut self) -> Option<&mut Grant> {
        match &mut self.0 {
            Form::AsWritten(written) => Some(&mut written.grant),
            Form::Otherwise(_) => None,
        }
    }

    /// Keeps once what it says of the binding whose output name this is.
    pub fn share(&mut self, name: &ObjectName, binding: &BindingKey, uid: &Uid) {
        let Form::AsWritten(written) = &mut self.0 else { return };
        if written.name == *name {
            written.name = name.clone();
        }
        if written.binding == *binding {
            written.binding = binding.clone();
        }
        if written.binding_uid == *uid {
            written.binding_uid = uid.clone();
        }
    }

    fn is_but_for_status(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Form::AsWritten(a), Form::AsWritten(b)) => {
                let Written {
                    name,
                    binding,
                    binding_uid,
                    grant,
                    uid,
                    resource_version: _,
                    created,
                    stats: _,
                } = &**a;
                *name == b.name
                    && *binding == b.binding
                    && *binding_uid == b.binding_uid
                    && *grant == b.grant
                    && *uid == b.uid
                    && *created == b.created
            }
            (Form::Otherwise(a), Form::Otherwise(b)) => same_but_for_status(a, b),
            _ => false,
        }
    }
}

/// The live outputs of the cluster by name.
#[derive(Debug)]
pub struct Outputs {
    settings: Settings,
    by_name: BTreeMap<ObjectName, KeptOutput>,
}

impl Outputs {
    /// None yet, for an operator with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, by_name: BTreeMap::new() }
    }

    /// The output of that name.
    pub fn get(&self, name: &ObjectName) -> Option<Arc<LiveOutput>> {
        Some(self.by_name.get(name)?.live(&self.settings))
    }

    /// The output of that name, as it is kept.
    pub fn kept(&self, name: &ObjectName) -> Option<&KeptOutput> {
        self.by_name.get(name)
    }

    /// Every output, by name.
    pub fn iter(&self) -> impl Iterator<Item = Arc<LiveOutput>> {
        self.by_name.values().map(|kept| kept.live(&self.settings))
    }

    /// The names of all but these.
    pub fn names_but(&self, these: &BTreeSet<ObjectName>) -> Vec<ObjectName> {
        self.by_name.keys().filter(|name| !these.contains(*name)).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether a newer state of an output is known: of the same object, or of one that has replaced it.
    pub fn is_old(&self, output: &KeptOutput) -> bool {
        let known = self.by_name.get(output.name());
        known.is_some_and(|known| is_older(output.resource_version(), known.resource_version()))
    }

    /// Takes a live output, unless an event that comes late would put an older state over a newer one. Answers whether
    /// anything but the statistics changed.
    pub fn put(&mut self, output: KeptOutput) -> bool {
        if self.is_old(&output) {
            return false;
        }
        let Some(known) = self.by_name.get_mut(output.name()) else {
            self.by_name.insert(output.name().clone(), output);
            return true;
        };
        let changed = !known.is_but_for_status(&output);
        *known = output;
        changed
    }

    /// Forgets an output; answers whether it was there.
    pub fn remove(&mut self, name: &ObjectName) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// Keeps once what the output of this name, if there is one, says of the binding whose name it is. Answers the name
    /// as it is to be kept.
    pub fn share(&mut self, name: ObjectName, binding: &BindingKey, uid: &Uid) -> ObjectName {
        let Some(kept) = self.by_name.get_mut(&name) else { return name };
        let name = kept.name().clone();
        kept.share(&name, binding, uid);
        name
    }
}
