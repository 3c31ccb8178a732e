//! A hint that two objects share: SPIRE's agent hands out one of their entries.

use super::super::chain::{Evidence, Link, LinkKind};
use super::Subject;
use crate::fact::Binding;
use crate::report::{Only, shared_hint};

impl Subject<'_> {
    /// That the identity of the binding stands behind another one, of an object with the same hint.
    pub(super) fn hidden(&self, binding: &Binding, place: usize) -> Option<Link> {
        let only = self.pod.map(|(pod, _)| Only { pod, container: self.question.container });
        let finding = shared_hint(self.scene, binding, only)?;
        let own = self.scene.object(place);
        let named =
            finding.references.iter().find(|one| one.kind == "ClusterSPIFFEID" && one.name != own.name)?;
        let other = self.scene.world.registrations.iter().find(|object| object.name == named.name)?;
        let read = [other, own].into_iter().flat_map(|object| {
            let name = format!("ClusterSPIFFEID {}", object.name);
            let created = object
                .created
                .map(|time| Evidence::new(&*name, "metadata.creationTimestamp", (self.question.time)(time)));
            [Some(Evidence::new(&*name, "spec.hint", &*object.hint)), created]
        });
        Some(Link::ends(LinkKind::Manager, finding).read(read.flatten()))
    }
}
