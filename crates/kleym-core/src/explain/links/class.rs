//! The output's class, and whether spire-controller-manager watches it.

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::process::NotLoaded;
use super::Subject;
use crate::fact::Binding;
use crate::report::{Code, reported};
use crate::spire::{Answer, Registration};

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
        if known
            && stats == Some(false)
            && let Some(link) = self.class_not_loaded(binding, object, &own)
        {
            return link;
        }
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

    /// The class is what SCM's configuration says since a time at which SCM ran already, and SCM does not look at the output.
    fn class_not_loaded(&self, binding: &Binding, object: &Registration, own: &Evidence) -> Option<Link> {
        let manager = self.scene.world.manager_of(object);
        let mut finding = reported(self.scene, binding).filter(|one| one.code == Code::NotPickedUp)?;
        let class = manager.class.as_ref()?;
        let setting = if object.class_name.is_empty() { "watchClassless" } else { "className" };
        let NotLoaded { read, at, why, hint, .. } =
            NotLoaded::of(self.question, manager, setting).filter(|one| one.outdated)?;
        finding.message = format!(
            "spire-controller-manager has reported nothing about the output of `{}`, though by {at} it watches {class}{why}",
            binding.key
        );
        finding.hint = Some(hint);
        let value = match setting {
            "className" => class.name.to_string(),
            _ => class.classless.to_string(),
        };
        let stats = Evidence::new(format!("ClusterSPIFFEID {}", object.name), "status.stats", "<none>");
        Some(
            Link::ends(LinkKind::Class, finding)
                .read([own.clone(), self.manager_read(manager, setting, value), stats])
                .read(read),
        )
    }
}
