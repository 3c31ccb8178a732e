//! The output: whether it is there, whose it is, and in what it differs.

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::differs;
use super::Subject;
use crate::refusal::Reason;
use crate::report::{Code, Finding, Standing, binding_key, output};

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
            standing => {
                let status = (self.question.status)(&binding.key);
                let failed = Reason::ManagedOutputApplyFailed.as_str();
                let told = status.filter(|status| status.reason == failed && standing == Standing::Missing);
                if let Some(status) = told {
                    let finding = Finding::new(Code::ManagedOutputApplyFailed, status.message.clone())
                        .about(&binding_key(&binding.key))
                        .hint("see the log of kleym-operator for the API server's answer");
                    let read = Evidence::new(
                        format!("InferenceIdentityBinding {}", binding.key),
                        "status.conditions[Ready]",
                        status.message,
                    );
                    return Link::broken(kind, finding).read([read]);
                }
                let read = match &standing {
                    Standing::Missing => vec![Evidence::new(object, "metadata.name", "<not found>")],
                    Standing::Foreign(live) | Standing::Orphan(live) => vec![Evidence::new(
                        object,
                        "metadata.annotations[kleym.sonda.red/binding-uid]",
                        live.annotations
                            .get(crate::output::ANNOTATION_BINDING_UID)
                            .map_or("<none>", |uid| &**uid),
                    )],
                    Standing::Drifted(live, fields) => {
                        let wanted = self.scene.wanted_output(binding, identity, live);
                        let value = |field: &&'static str| {
                            Evidence::new(&*object, *field, differs::values(field, live, &wanted))
                        };
                        fields.iter().map(value).collect()
                    }
                    Standing::Unknown | Standing::InSync(_) => Vec::new(),
                };
                match output(self.scene, binding, identity) {
                    Some(finding) => Link::broken(kind, finding).read(read),
                    None => Link::unseen(kind, name.as_str()),
                }
            }
        }
    }
}
