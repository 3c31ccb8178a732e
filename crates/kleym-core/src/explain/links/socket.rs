//! The last step before an SVID: that a container which an entry is for reaches the socket of the Workload API.

use super::super::chain::{Evidence, Link, LinkKind};
use super::labels::in_its_template;
use super::{Subject, pod_object};
use crate::report::{Code, Finding};
use crate::spire::{Access, Container, Pod};
use crate::text::{Quoted, quoted_list};

impl Subject<'_> {
    /// That no container which the entry is for mounts the socket, where the pod's own spec says that one should.
    pub(super) fn without_socket(&self, place: usize, index: usize) -> Option<Link> {
        let pod = &self.scene.world.pods[index];
        let asked = |one: &&Container| self.question.container.is_none_or(|only| *one.name == *only);
        let of_entry = |one: &&Container| {
            let mut given = self.scene.given(index, one);
            given.any(|(entry, answer)| entry.by == place && answer.possible())
        };
        let meant: Vec<&Container> = pod.containers.iter().filter(asked).filter(of_entry).collect();
        let missing = |one: &&&Container| matches!(one.access, Access::Missing { .. });
        if meant.is_empty() || meant.iter().filter(missing).count() < meant.len() {
            return None;
        }
        let first = *meant.first()?;
        Some(Link::ends(LinkKind::Manager, self.not_mounted(pod, first)).read(read(pod, first)))
    }

    fn not_mounted(&self, pod: &Pod, container: &Container) -> Finding {
        let Access::Missing { volume, endpoint, .. } = &container.access else {
            unreachable!("one whose access is missing was found")
        };
        let name = Quoted(&container.name);
        let has = match volume {
            Some((volume, of)) => format!("volume {} ({of})", Quoted(volume)),
            None => "a volume that could hold it".to_owned(),
        };
        let message = format!(
            "an entry for pod `{}` is foreseen, but container {name} does not mount {has}, so it does not reach the Workload API and gets no SVID",
            pod.name
        );
        let others = holders(pod);
        let as_others = others.first().map(|(other, _)| format!(", as container {} does", Quoted(other)));
        let as_others = as_others.unwrap_or_default();
        let path = others.first().map(|(_, path)| (*path).to_owned()).filter(|path| !path.is_empty());
        let path = path.or_else(|| {
            let path = endpoint.as_deref()?.strip_prefix("unix:")?;
            Some(format!("/{}", path.rsplit_once('/')?.0.trim_start_matches('/')))
        });
        let path = path.unwrap_or_else(|| "/spiffe-workload-api".to_owned());
        let template = match in_its_template(pod) {
            template if template.is_empty() => " of the pod".to_owned(),
            template => template,
        };
        let hint = match volume {
            Some((volume, _)) => format!(
                "add `{{name: {volume}, mountPath: {path}, readOnly: true}}` to `volumeMounts` of container {name}{template}{as_others}; nothing is wrong with the binding, nor with SPIRE"
            ),
            None => format!(
                "add a volume of the CSI driver `csi.spiffe.io`{template}, and mount it at `{path}` in container {name}; nothing is wrong with the binding, nor with SPIRE"
            ),
        };
        self.pod_finding(Code::SocketNotMounted, message, hint)
    }
}

/// The containers of a pod that mount the socket, and where.
fn holders(pod: &Pod) -> Vec<(&str, &str)> {
    let mounted = pod.containers.iter().filter_map(|one| match &one.access {
        Access::Mounted(path) => Some((&*one.name, &**path)),
        Access::Untold | Access::Missing { .. } => None,
    });
    mounted.collect()
}

/// What the container mounts, and who mounts the volume.
fn read(pod: &Pod, container: &Container) -> Vec<Evidence> {
    let Access::Missing { volume, endpoint, mounts } = &container.access else { return Vec::new() };
    let object = pod_object(pod);
    let list = |field: &str| {
        let list = if container.kind.is_init() { "initContainers" } else { "containers" };
        format!("spec.{list}[{}].{field}", container.name)
    };
    let names: Vec<&str> = mounts.iter().map(|name| &**name).collect();
    let names = if names.is_empty() { "<none>".to_owned() } else { names.join(", ") };
    let mut read = vec![Evidence::new(&*object, list("volumeMounts"), names)];
    if let Some((volume, of)) = volume {
        let others: Vec<&str> = holders(pod).into_iter().map(|(name, _)| name).collect();
        let by = match others.as_slice() {
            [] => "which no container mounts".to_owned(),
            others => format!("mounted by {} alone", quoted_list(others.iter().copied())),
        };
        read.push(Evidence::new(&*object, format!("spec.volumes[{volume}]"), format!("{of}, {by}")));
    }
    if let Some(endpoint) = endpoint {
        read.push(Evidence::new(object, list("env[SPIFFE_ENDPOINT_SOCKET]"), &**endpoint));
    }
    read
}
