//! `install.yaml`: what `kubectl kustomize config/default` gives, in one file. The folders are put together here, so that
//! generating and checking need no tool; a test compares the file with what kustomize makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::artifact::{Artifact, MARK};

/// The folder that is rendered.
const DEFAULT: &str = "config/default";

/// What somebody has to know who holds nothing but this file.
const HEADER: &str = "\
#
# Before you apply this, know three things:
# - The trust domain of your SPIRE, with which every SPIFFE ID begins, and the class that your spire-controller-manager watches.
#   Neither stands in here, so that applying this file again leaves them as you set them. Set both right after it, and apply
#   bindings only then, because until then the operator has the trust domain kleym.sonda.red and no class:
#     kubectl apply --server-side -f install.yaml
#     kubectl -n kleym-system set env deployment/kleym-operator \\
#       KLEYM_TRUST_DOMAIN=<trust domain> KLEYM_CLUSTERSPIFFEID_CLASS_NAME=<class>
# - The namespace, kleym-system, which is made here and enforces Pod Security `restricted`. For another one, use an overlay of
#   config/default, such as examples/kustomize; settings that are kept in Git belong there too.
# - The image, ghcr.io/sonda-red/kleym-operator, which your nodes must be able to pull.
# Every other setting has a default: https://kleym.sonda.red/reference/operator.html
";

/// The file, from the folder's resources; a generated one is taken as it will be, not as it lies there.
pub(crate) fn file(root: &Path, generated: &[Artifact]) -> anyhow::Result<Artifact> {
    let generated: BTreeMap<&str, &str> =
        generated.iter().map(|artifact| (artifact.path.as_str(), artifact.content.as_str())).collect();
    let mut content = format!("# {MARK} from {DEFAULT}. Do not edit.\n{HEADER}");
    for path in resources(root, DEFAULT)? {
        let text = match generated.get(path.as_str()) {
            Some(text) => (*text).to_owned(),
            None => fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read `{path}`"))?,
        };
        // Comments before the first document speak of the file they stand in.
        let (_, body) = text.split_once("---\n").with_context(|| format!("`{path}` lacks its `---`"))?;
        content.push_str("---\n");
        content.push_str(body);
    }
    Ok(Artifact { path: "install.yaml".to_owned(), content })
}

/// The files that a kustomization lists, with those of the folders it lists, in order.
fn resources(root: &Path, folder: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("{folder}/kustomization.yaml");
    let text = fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read `{path}`"))?;
    let kustomization: Value =
        serde_saphyr::from_str(&text).with_context(|| format!("`{path}` is not YAML"))?;
    let fields = kustomization.as_object().with_context(|| format!("`{path}` is no kustomization"))?;
    for key in fields.keys() {
        if !["apiVersion", "kind", "resources"].contains(&key.as_str()) {
            bail!(
                "`{path}` has `{key}`, which `install.yaml` would lack; put it into an overlay or a component"
            );
        }
    }
    let entries = fields.get("resources").and_then(Value::as_array);
    let mut files = Vec::new();
    for entry in entries.with_context(|| format!("`{path}` has no `resources`"))? {
        let entry = entry.as_str().with_context(|| format!("`{path}` has a resource that is no text"))?;
        let resource = match entry.strip_prefix("../") {
            Some(sibling) => {
                format!("{}/{sibling}", folder.rsplit_once('/').map_or("", |(parent, _)| parent))
            }
            None => format!("{folder}/{entry}"),
        };
        if root.join(&resource).is_dir() {
            files.extend(resources(root, &resource)?);
        } else {
            files.push(resource);
        }
    }
    Ok(files)
}
