//! What was last seen live: bindings with what writes to them are bound to, and outputs by name. Kept beside the
//! index, because it changes with every write and decides nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kleym_api::encode::{StatusDigest, StatusSeen};
use kleym_core::announce::Said;
use kleym_core::fact::{Binding, Fact};
use kleym_core::index::Dirty;
use kleym_core::name::{BindingKey, Instance, Namespace, ObjectName, Uid, output_name};
use kleym_core::output::{FINALIZER, KeptOutput, LiveOutput, Outputs, is_older};
use kleym_core::plan::LiveBinding;
use kleym_core::settings::Settings;

use crate::feed::{Item, SeenBinding};

/// A binding as last seen.
#[derive(Debug)]
pub(super) struct Known {
    /// What writes are bound to.
    pub live: LiveBinding,
    /// What its status says.
    pub status: StatusSeen,
    /// As much of it as decides whether something must be told again.
    pub(crate) said: Said,
    /// The status that was last written, and what the API server made of it: an older CRD drops fields.
    pub wrote: Option<(StatusDigest, StatusDigest)>,
}

impl Known {
    /// Whether this very status was the last that was written.
    pub(super) fn wrote_already(&self, status: StatusDigest) -> bool {
        self.wrote.is_some_and(|(wrote, _)| wrote == status)
    }

    /// What was seen of a binding, its fact and the rest; nothing was written yet.
    pub(super) fn of(seen: SeenBinding) -> (Box<Binding>, Self) {
        let SeenBinding { fact, live, status, said } = seen;
        (fact, Self { live, status, said, wrote: None })
    }
}

/// Everything seen live.
#[derive(Debug)]
pub(super) struct Book {
    bindings: HashMap<BindingKey, Known>,
    /// Whose output an output name is.
    owners: HashMap<ObjectName, BindingKey>,
    outputs: Outputs,
    /// Outputs that a look found gone before the watch has told so: what it tells of them until then is old.
    departed: HashMap<ObjectName, Uid>,
    instance: Instance,
}

impl Book {
    /// A book of the operator with these settings.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            bindings: HashMap::new(),
            owners: HashMap::new(),
            outputs: Outputs::new(settings.clone()),
            departed: HashMap::new(),
            instance: settings.instance.clone(),
        }
    }

    /// How many bindings there are.
    pub(super) fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    /// How many ClusterSPIFFEIDs there are, foreign ones included.
    pub(super) fn output_count(&self) -> usize {
        self.outputs.len()
    }

    /// Every binding.
    pub(super) fn keys(&self) -> impl Iterator<Item = BindingKey> {
        self.bindings.keys().cloned()
    }

    /// A binding as last seen.
    pub(super) fn binding(&self, key: &BindingKey) -> Option<&Known> {
        self.bindings.get(key)
    }

    /// A binding as last seen, to note a write.
    pub(super) fn binding_mut(&mut self, key: &BindingKey) -> Option<&mut Known> {
        self.bindings.get_mut(key)
    }

    /// Notes that our finalizer was taken off. The answer to that call can carry the version seen before, because the API
    /// server removes the object instead of storing it again.
    pub(super) fn released(&mut self, key: &BindingKey) {
        if let Some(known) = self.bindings.get_mut(key) {
            let others = known.live.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER);
            known.live.finalizers = others.collect();
        }
    }

    /// What stands at a binding's output name.
    pub(super) fn output_of(&self, key: &BindingKey) -> Option<Arc<LiveOutput>> {
        self.outputs.get(&self.output_name(key))
    }

    fn output_name(&self, key: &BindingKey) -> ObjectName {
        output_name(self.instance.as_str(), key)
    }

    /// Notes a binding; answers whether this is news, and whether its status or metadata changed in a way that only a
    /// turn can judge. A state that is older than the known one, or the same, is no news.
    pub(super) fn saw_binding(&mut self, key: &BindingKey, fresh: Known) -> News {
        let Some(known) = self.bindings.get_mut(key) else {
            let name = self.outputs.share(self.output_name(key), key, &fresh.live.uid);
            self.owners.insert(name, key.clone());
            self.bindings.insert(key.clone(), fresh);
            return News::Judge;
        };
        let (old, new) = (&known.live.resource_version, &fresh.live.resource_version);
        if old == new || is_older(new, old) {
            return News::Old;
        }
        let old = std::mem::replace(known, fresh);
        if old.live.uid != known.live.uid {
            return News::Judge;
        }
        known.wrote = old.wrote;
        let same = old.status.digest == known.status.digest && old.live.finalizers == known.live.finalizers;
        if same { News::Quiet } else { News::Judge }
    }

    /// Forgets a binding, unless it is another incarnation than the one that is gone.
    pub(super) fn binding_gone(&mut self, key: &BindingKey, uid: Option<&Uid>) -> bool {
        let same = |known: &Known| uid.is_none_or(|uid| known.live.uid == *uid);
        if !self.bindings.get(key).is_some_and(same) {
            return false;
        }
        self.bindings.remove(key);
        self.owners.remove(&self.output_name(key));
        true
    }

    /// Takes a finished list of bindings, of one namespace or of all. What the list shows of a binding can be older than
    /// an answer: then what is `known` of it stays.
    pub(super) fn bindings_listed(
        &mut self,
        namespace: Option<&Namespace>,
        items: Vec<Item>,
        known: impl Fn(&BindingKey) -> Option<Binding>,
    ) -> (Dirty, Vec<Fact>) {
        let mut dirty = Dirty::new();
        let mut facts = Vec::with_capacity(items.len());
        let mut listed = BTreeSet::new();
        for item in items {
            let Item::Binding(seen) = item else { continue };
            let (mut fact, fresh) = Known::of(*seen);
            listed.insert(fact.key.clone());
            match self.saw_binding(&fact.key, fresh) {
                News::Old => fact = known(&fact.key).map_or(fact, Box::new),
                News::Quiet => {}
                News::Judge => drop(dirty.insert(fact.key.clone())),
            }
            facts.push(Fact::Binding(fact));
        }
        let inside = |key: &&BindingKey| namespace.is_none_or(|only| key.namespace == *only);
        let vanished: Vec<BindingKey> =
            self.bindings.keys().filter(inside).filter(|key| !listed.contains(*key)).cloned().collect();
        for key in vanished {
            self.binding_gone(&key, None);
            dirty.insert(key);
        }
        (dirty, facts)
    }

    /// Forgets every binding: their definition is gone.
    pub(super) fn bindings_absent(&mut self) -> Dirty {
        self.owners.clear();
        self.bindings.drain().map(|(key, _)| key).collect()
    }

    /// Forgets what the API server dropped of what was written; answers of which bindings it did.
    pub(super) fn forget_dropped(&mut self) -> Dirty {
        let dropped = |(key, known): (&BindingKey, &mut Known)| {
            known.wrote.take_if(|(wrote, stood)| wrote != stood).map(|_| key.clone())
        };
        self.bindings.iter_mut().filter_map(dropped).collect()
    }

    /// Notes that a look found an output gone that was known.
    pub(super) fn departs(&mut self, name: &ObjectName, uid: &Uid) {
        self.departed.insert(name.clone(), uid.clone());
    }

    /// Whether more is known of an output than this: a newer state, or that it is gone.
    pub(super) fn knows_better(&self, output: &KeptOutput) -> bool {
        self.departed.get(output.name()) == Some(output.uid()) || self.outputs.is_old(output)
    }

    /// Takes that the watch, too, knows that an output is gone.
    pub(super) fn departure_is_told(&mut self, name: &ObjectName, uid: Option<&Uid>) {
        if uid.is_none_or(|uid| self.departed.get(name) == Some(uid)) {
            self.departed.remove(name);
        }
    }

    /// Takes a finished list of outputs, or that there are none: what it does not hold, no watch tells of any more.
    pub(super) fn departures_are_told_but(&mut self, listed: &BTreeSet<ObjectName>) {
        self.departed.retain(|name, _| listed.contains(name));
    }

    /// Notes an output; answers whether more than SPIRE's counts changed.
    pub(super) fn saw_output(&mut self, mut output: KeptOutput) -> bool {
        if let Some((name, key)) = self.owners.get_key_value(output.name())
            && let Some(known) = self.bindings.get(key)
        {
            output.share(name, key, &known.live.uid);
        }
        self.outputs.put(output)
    }

    /// The output of that name.
    pub(super) fn output(&self, name: &ObjectName) -> Option<Arc<LiveOutput>> {
        self.outputs.get(name)
    }

    /// The output of that name, as it is kept.
    pub(super) fn kept_output(&self, name: &ObjectName) -> Option<&KeptOutput> {
        self.outputs.kept(name)
    }

    /// Forgets an output, unless another one has its name now; answers what it was.
    pub(super) fn output_gone(&mut self, name: &ObjectName, uid: Option<&Uid>) -> Option<Arc<LiveOutput>> {
        let known = self.outputs.get(name)?;
        if uid.is_some_and(|uid| known.uid != *uid) {
            return None;
        }
        self.outputs.remove(name);
        Some(known)
    }

    /// Every output, foreign ones included.
    pub(super) fn outputs(&self) -> impl Iterator<Item = Arc<LiveOutput>> {
        self.outputs.iter()
    }

    /// The names of all outputs but these.
    pub(super) fn outputs_but(&self, these: &BTreeSet<ObjectName>) -> Vec<ObjectName> {
        self.outputs.names_but(these)
    }

    /// The living binding whose output name this is.
    pub(super) fn owner_of(&self, output: &ObjectName) -> Option<&BindingKey> {
        self.owners.get(output)
    }
}

/// What seeing a binding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It is older than what is known, or the same.
    Old,
    /// Only what no turn looks at changed.
    Quiet,
    /// A turn must look at it.
    Judge,
}
