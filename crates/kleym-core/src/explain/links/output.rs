//! The output: whether it is there, whose it is, and in what it differs.

use super::super::chain::{Evidence, Link, LinkKind};
use super::super::{Definition, Made, differs, operator};
use super::Subject;
use crate::fact::Binding;
use crate::output::ANNOTATION_BINDING_UID;
use crate::render::Identity;
use crate::report::{Code, Finding, Standing, output};
use crate::spire::Registration;
use crate::text::{Quoted, bounded, quoted_list};

/// The most annotations of an object that are shown.
const SHOWN: usize = 4;

/// Who made an object, and what it says of itself.
fn of_maker(object: &str, made: &Made) -> Vec<Evidence> {
    let mut read = Vec::new();
    read.extend(made.created.as_ref().map(|time| Evidence::new(object, "metadata.creationTimestamp", time)));
    let by = |(manager, time): &(String, Option<String>)| match time {
        Some(time) => format!("{manager} ({time})"),
        None => manager.clone(),
    };
    if !made.managers.is_empty() {
        let managers: Vec<String> = made.managers.iter().map(by).collect();
        read.push(Evidence::new(object, "metadata.managedFields[].manager", managers.join(", ")));
    }
    read.extend(made.annotations.iter().take(SHOWN).map(|(key, value)| {
        Evidence::new(object, format!("metadata.annotations[{key}]"), bounded(value.clone()))
    }));
    read
}

impl Subject<'_> {
    /// What the installed definition cannot hold, and what else that has cost.
    fn cannot_hold(
        &self,
        binding: &Binding,
        definition: &Definition,
        finding: &mut Finding,
        read: &mut Vec<Evidence>,
    ) {
        let Definition { name, chart, lacks } = definition;
        let classless = self.scene.index.settings_in(&binding.key.namespace).class_name.is_none();
        let lacks: Vec<&str> = lacks.iter().map(String::as_str).collect();
        let lacks: Vec<&str> =
            lacks.into_iter().filter(|field| !(classless && *field == "spec.className")).collect();
        if lacks.is_empty() {
            return;
        }
        let object = format!("CustomResourceDefinition {name}");
        let field = "spec.versions[v1alpha1].schema.openAPIV3Schema";
        read.push(Evidence::new(&*object, field, format!("lacks {}", lacks.join(", "))));
        read.extend(
            chart.as_ref().map(|chart| Evidence::new(object, "metadata.annotations[helm.sh/chart]", chart)),
        );
        // One that was to be a fallback is none any more where the field was dropped.
        let others = self.scene.world.registrations.iter();
        let foreign = |one: &&Registration| !one.fallback && self.scene.binding_of_name(&one.name).is_none();
        let others: Vec<&str> = others.filter(foreign).map(|one| &*one.name).collect();
        let lost = lacks.contains(&"spec.fallback") && !others.is_empty();
        let then = match lost {
            true => format!(
                "; THEN apply SPIRE's own objects again (`helm upgrade` of its chart): {} may have lost `fallback: true`, and would stay as a second identity",
                quoted_list(others.into_iter().take(SHOWN))
            ),
            false => String::new(),
        };
        finding.hint = Some(format!(
            "upgrade CustomResourceDefinition `{name}`, which lacks {}, to that of spire-controller-manager 0.6.0 or newer (chart `spire-crds`): kleym-operator notices, and writes the output by itself{then}",
            quoted_list(lacks.iter().copied())
        ));
    }

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
                let made = (self.question.made)(&live.name).map(|made| of_maker(object, &made));
                let grants = Evidence::new(object, "spec.spiffeIDTemplate", &*live.spec.spiffe_id);
                std::iter::once(theirs).chain(own).chain([grants]).chain(made.into_iter().flatten()).collect()
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
            if let Some(idle) = operator::at_rest(self.question, &binding.key.namespace) {
                read.extend(idle.read);
                finding.hint = Some(idle.hint);
            }
        } else if finding.code == Code::ManagedOutputConflict {
            let name = self.scene.output_name(&binding.key);
            let maker = (self.question.made)(&name).and_then(|made| Some(made.managers.first()?.0.clone()));
            let maker = maker.map(|by| format!("{} made it: see", Quoted(&by)));
            // No answer from files tells anybody to ask a cluster.
            let delete = match self.question.live {
                true => format!("delete it: `kubectl delete clusterspiffeid {name}`"),
                false => format!("delete ClusterSPIFFEID `{name}` from the cluster"),
            };
            finding.hint = Some(format!(
                "{} that nothing makes it again (GitOps, a backup), and then {delete}; kleym-operator writes its own at once, and until SPIRE has that the pods have their fallback identity, if there is one; do not edit or label it",
                maker.as_deref().unwrap_or("find out who made it, and see")
            ));
        } else if finding.code == Code::ManagedOutputApplyFailed
            && let Some(definition) = (self.question.definition)()
        {
            self.cannot_hold(binding, &definition, &mut finding, &mut read);
        }
        Link::ends(kind, finding).read(read)
    }
}
