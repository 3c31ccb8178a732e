//! The output's class, and whether spire-controller-manager watches it.

use super::super::chain::{Evidence, Link, LinkKind};
use super::Subject;
use crate::report::{Code, reported, watched};
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
        let class = if object.class_name.is_empty() { "<none>" } else { &*object.class_name };
        let own = Evidence::new(format!("ClusterSPIFFEID {}", object.name), "spec.className", class);
        if let Some(finding) =
            watched(self.scene, binding).into_iter().find(|finding| finding.code == Code::ClassNotWatched)
        {
            let theirs = self
                .scene
                .world
                .manager
                .class
                .as_ref()
                .map(|class| class.name.to_string())
                .unwrap_or_default();
            return Link::broken(kind, finding).read([own, self.manager_read("className", theirs)]);
        }
        let stats = self.scene.output(&binding.key).map(|live| live.stats.is_some());
        match (fate.watched, stats) {
            (Answer::Yes, _) => {
                Link::holds(kind, format!("{class}, which spire-controller-manager watches")).read([own])
            }
            (_, Some(true)) => Link::holds(
                kind,
                format!("{class}; spire-controller-manager has reported on it, so it is watched"),
            )
            .read([own]),
            (_, Some(false)) => match reported(self.scene, binding) {
                Some(finding) => Link::broken(kind, finding).read([
                    own,
                    Evidence::new(format!("ClusterSPIFFEID {}", object.name), "status.stats", "<none>"),
                ]),
                None => Link::unseen(
                    kind,
                    format!("{class}; the settings of spire-controller-manager are not known"),
                ),
            },
            (_, None) => {
                Link::unseen(kind, format!("{class}; the settings of spire-controller-manager are not known"))
                    .read([own])
            }
        }
    }
}
