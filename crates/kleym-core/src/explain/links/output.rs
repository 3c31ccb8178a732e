//! The output: whether it is there, whose it is, and in what it differs.

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::{differs, operator};
use super::Subject;
use crate::fact::Binding;
use crate::output::ANNOTATION_BINDING_UID;
use crate::render::Identity;
use crate::report::{Code, Standing, output};

impl Subject<'_> {
    pub(super) fn output(&self) -> Link {
        let kind = LinkKind::Output;
        let (Some(binding), Some(identity)) = (self.binding, self.identity()) else {
            return Link::unseen(kind, "none is wanted");
        };
        let name = self.scene.output_name(&binding.key);
        let object = format!("ClusterSPIFFEID {name}");
        match self.scene.standing(binding, identity) {
            Standing::Unknown => Link::unseen(kind, format!("{name}, as it would be written")),
            Standing::InSync(live) => {
                let read = Evidence::new(object, "spec.spiffeIDTemplate", &*live.spec.spiffe_id);
                Link::holds(kind, format!("{name}   in sync, owned")).read([read])
            }
            standing => self.odd_output(binding, identity, &object, &standing),
        }
    }

    /// An output that is not as it should be.
    fn odd_output(
        &self,
        binding: &Binding,
        identity: &Identity,
        object: &str,
        standing: &Standing<'_>,
    ) -> Link {
        let kind = LinkKind::Output;
        let mut read = match standing {
            Standing::Missing => vec![Evidence::new(object, "metadata.name", "<not found>")],
            Standing::Foreign(live) | Standing::Orphan(live) => {
                let uid = live.annotations.get(ANNOTATION_BINDING_UID).map_or("<none>", |uid| &**uid);
                let theirs = Evidence::new(object, "metadata.annotations[kleym.sonda.red/binding-uid]", uid);
                let own = binding.uid.as_ref().map(|uid| {
                    let binding = format!("InferenceIdentityBinding {}", binding.key);
                    Evidence::new(binding, "metadata.uid", uid.as_str())
                });
                std::iter::once(theirs).chain(own).collect()
            }
            Standing::Drifted(live, fields) => {
                let wanted = self.scene.wanted_output(binding, identity, live);
                let value = |field: &&'static str| {
                    Evidence::new(object, *field, differs::values(field, live, &wanted))
                };
                fields.iter().map(value).collect()
            }
            Standing::Unknown | Standing::InSync(_) => Vec::new(),
        };
        let Some(mut finding) = output(self.scene, binding, identity) else {
            return Link::unseen(kind, object);
        };
        if finding.code == Code::ManagedOutputApplyFailed {
            let status = (self.question.status)(&binding.key);
            read.extend(status.map(|status| {
                let binding = format!("InferenceIdentityBinding {}", binding.key);
                let value = format!("{} {}", status.ready, status.reason);
                Evidence::new(binding, "status.conditions[Ready]", value)
            }));
        }
        // What the operator would mend by itself stays as it is while no operator runs.
        let its_work = matches!(finding.code, Code::OutputMissing | Code::OutputDrifted | Code::OrphanOutput);
        if its_work {
            if let Some((seen, hint)) = operator::at_rest(self.question, &binding.key.namespace) {
                read.extend(seen);
                finding.hint = Some(hint);
            }
        } else if finding.code == Code::ManagedOutputConflict && !self.question.live {
            finding.hint = Some("find out who made it, and then remove it from the cluster".to_owned());
        }
        Link::ends(kind, finding).read(read)
    }
}
