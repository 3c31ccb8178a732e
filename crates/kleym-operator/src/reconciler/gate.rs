//! What other live outputs stand against, for the protocol: the index, the doubts and the memory taken together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kleym_core::index::Index;
use kleym_core::name::{BindingKey, ObjectName, output_name};
use kleym_core::output::LiveOutput;
use kleym_core::plan::Gate;
use kleym_core::render::Identity;

use super::doubt::Doubts;
use super::memory::Memory;

/// What other live outputs stand against, as the index and the memory know it.
pub(super) struct Gatekeeper<'a> {
    pub(super) index: &'a Index,
    pub(super) doubts: &'a Doubts,
    pub(super) memory: &'a HashMap<BindingKey, Memory>,
    pub(super) key: &'a BindingKey,
    pub(super) output: Option<&'a LiveOutput>,
}

impl<'a> Gatekeeper<'a> {
    fn written(&self, binding: &ObjectName) -> &'a [Arc<Identity>] {
        let key = BindingKey::new(self.key.namespace.clone(), binding.clone());
        self.memory.get(&key).map_or(&[], Memory::written)
    }
}

impl Gate for Gatekeeper<'_> {
    fn blockers(&self, wanted: &Identity) -> BTreeSet<ObjectName> {
        let mut blockers = self.index.blockers(self.key, wanted, |binding| self.written(binding));
        let instance = self.index.settings().instance.as_str();
        blockers.extend(self.doubts.against(self.key, wanted).map(|key| output_name(instance, key)));
        blockers
    }

    fn in_the_way(&self) -> bool {
        let written = self.written(&self.key.name);
        self.output.is_some_and(|output| self.index.stands_against_older(self.key, &output.name, written))
    }
}
