//! spire-controller-manager as it runs: it reads its configuration only when it starts, so what was read may not be what it does.

use super::Question;
use super::chain::Evidence;
use crate::spire::Manager;
use crate::text::{Quoted, quoted_list};

/// The most pods that are shown.
const SHOWN: usize = 3;

/// What its pods and the object of its configuration tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The containers that have the configuration mounted.
    pub started: Vec<Started>,
    /// When the configuration was last written, as it is written, and by whom.
    pub written: Option<(String, Option<String>)>,
    /// What the object of the configuration is made from: `Helm release `spire``.
    pub source: Option<String>,
    /// Whether all of them started before that; none where the times do not tell.
    pub outdated: Option<bool>,
}

/// A container that runs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// The namespace of its pod.
    pub namespace: String,
    /// The name of its pod.
    pub pod: String,
    /// Its own.
    pub container: String,
    /// `state.running.startedAt`
    pub since: Option<String>,
    /// Kind and name of what made the pod.
    pub workload: Option<(String, String)>,
    /// The other containers of the pod.
    pub beside: Vec<String>,
}

/// What there is to say where it does not do what was read.
pub(super) struct NotLoaded {
    /// What was read of it.
    pub(super) read: Vec<Evidence>,
    /// Where the setting stands.
    pub(super) at: String,
    /// Why it does something else.
    pub(super) why: String,
    /// What to do.
    pub(super) hint: String,
    /// Whether it is known that it started before the configuration was written.
    pub(super) outdated: bool,
}

impl NotLoaded {
    /// Nothing where the setting was not read, but typed or assumed.
    pub(super) fn of(question: &Question<'_>, manager: &Manager, setting: &str) -> Option<Self> {
        let at = manager.at.as_deref()?;
        let assumed = match setting {
            "ignoreNamespaces" => manager.assumed.ignored,
            _ => manager.assumed.class,
        };
        if assumed || (question.manager_at)(manager, setting) != at {
            return None;
        }
        let process = (question.process)(manager).unwrap_or_default();
        let mut read = Vec::new();
        read.extend(process.written.as_ref().map(|(time, by)| {
            let by = by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
            Evidence::new(at, "metadata.managedFields[].time", format!("{time}{by}"))
        }));
        read.extend(process.started.iter().take(SHOWN).filter_map(|one| {
            let field = format!("status.containerStatuses[{}].state.running.startedAt", one.container);
            Some(Evidence::new(format!("Pod {}/{}", one.namespace, one.pod), field, one.since.as_deref()?))
        }));
        Some(Self {
            read,
            at: at.to_owned(),
            why: process.why(at),
            hint: process.hint(at, setting, question.live),
            outdated: process.outdated == Some(true),
        })
    }
}

impl Process {
    fn why(&self, at: &str) -> String {
        match (self.outdated, &self.written) {
            (Some(true), Some((time, _))) => format!(
                ": {at} was last written at {time}, which is after it started, and it reads that only when it starts"
            ),
            (Some(false), _) => String::new(),
            _ => "; it reads that only when it starts, and may run with a former one".to_owned(),
        }
    }

    fn hint(&self, at: &str, setting: &str, live: bool) -> String {
        if self.outdated == Some(false) {
            return format!(
                "see the log of spire-controller-manager: it started after {at} was last written, so it reads another file (`--config`), or it is another one that reports"
            );
        }
        let first = self.started.first();
        let workload = first.and_then(|one| Some((one, one.workload.as_ref()?)));
        let restart = match workload {
            Some((one, (kind, name))) => {
                let path = format!("{}/{name}", one.namespace);
                let rolls = matches!(kind.as_str(), "StatefulSet" | "Deployment" | "DaemonSet");
                let command = match live && rolls {
                    true => format!(
                        " (`kubectl rollout restart {}/{name} -n {}`)",
                        kind.to_ascii_lowercase(),
                        one.namespace
                    ),
                    false => String::new(),
                };
                format!("restart {kind} {}{command}, which runs spire-controller-manager", Quoted(&path))
            }
            None => "restart spire-controller-manager".to_owned(),
        };
        let beside = first.map(|one| one.beside.as_slice()).unwrap_or_default();
        let beside = match beside.len() {
            0 => String::new(),
            number => format!(
                " ({} in the same pod restart{} with it)",
                quoted_list(beside.iter().map(String::as_str)),
                if number == 1 { "s" } else { "" }
            ),
        };
        let source = self.source.as_deref().unwrap_or("whatever makes that ConfigMap (Helm, GitOps)");
        format!(
            "{restart}{beside}; before that see that `{setting}` in {at} is as it is to be, and that {source} says the same, or the next upgrade brings the former value back; in Kleym nothing is to be changed"
        )
    }
}
