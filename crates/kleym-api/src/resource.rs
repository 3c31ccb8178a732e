//! Where the objects of a kind are served.

use kleym_core::kind::Kind;
use kube::core::ApiResource;

/// The resource of a kind, in the group and version that Kleym reads, for an API of `kube` without types.
pub fn api_resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: kind.version().to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind().to_owned(),
        plural: kind.plural().to_owned(),
    }
}
