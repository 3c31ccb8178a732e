//! The output's class, and whether spire-controller-manager watches it.

use super::super::chain::{Evidence, Link, LinkKind};
use super::Subject;
use crate::report::{Code, reported};
use crate::spire::Answer;

impl Subject<'_> {
    pub(super) fn class(&self) -> Link {
        let kind = LinkKind::Class;
        let (Some(binding), Some((place, fate))) =
            (self.binding, self.binding.and_then(|b| self.scene.fate(&b.key)))
        else {
            return Link::unseen(kind, "no output to look at");
        };
        let object = self.scene.object(place);
        let manager = self.scene.world.manager_of(object);
        let class = if object.class_name.is_empty() { "<none>" } else { &*object.class_name };
        let own = Evidence::new(format!("ClusterSPIFFEID {}", object.name), "spec.className", class);
        if let Some(finding) = self.unwatched(binding).find(|finding| finding.code == Code::ClassNotWatched) {
            let theirs = manager.class.as_ref();
            let name = theirs.map(|class| class.name.to_string()).unwrap_or_default();
            let mut read = vec![own, self.manager_read(manager, "className", name)];
            if object.class_name.is_empty() {
                let classless = theirs.is_some_and(|class| class.classless).to_string();
                read.push(self.manager_read(manager, "watchClassless", classless));
            }
            return Link::ends(kind, finding).read(read);
        }
        let stats = self.scene.output(&binding.key).map(|live| live.stats.is_some());
        let known = !manager.assumed.class && fate.watched == Answer::Yes;
        let not_known = || format!("{class}; the settings of spire-controller-manager are not known");
        match (known, stats) {
            (true, _) => {
                Link::holds(kind, format!("{class}, which spire-controller-manager watches")).read([own])
            }
            (_, Some(true)) => Link::holds(
                kind,
                format!("{class}; spire-controller-manager has reported on it, so it is watched"),
            )
            .read([own]),
            (_, Some(false)) => match reported(self.scene, binding) {
                Some(finding) => Link::ends(kind, finding).read([
                    own,
                    Evidence::new(format!("ClusterSPIFFEID {}", object.name), "status.stats", "<none>"),
                ]),
                None => Link::unseen(kind, not_known()),
            },
            (_, None) => Link::unseen(kind, not_known()).read([own]),
        }
    }
}
