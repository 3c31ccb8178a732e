//! Whether a container can reach the socket of the Workload API: by the volumes of its pod, by what it mounts of them, and by
//! the variable in which SPIFFE's libraries look for the socket. What is of another type counts as absent.

use kleym_core::spire::Access;
use serde_json::Value;

use super::value::optional;

/// The driver of the volumes that hold the agent's socket.
const DRIVER: &str = "csi.spiffe.io";
/// Where SPIFFE's libraries look.
const VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

/// Reads it of one container, regular or init, of a pod's `spec`.
pub(super) fn access(spec: Option<&Value>, container: &Value) -> Access {
    let mounts = || list(Some(container), "volumeMounts").iter();
    let mounted = |name: &str| mounts().find(|mount| text(mount, "name") == Some(name));
    let volumes: Vec<(&str, &str)> = list(spec, "volumes").iter().filter_map(of_socket).collect();
    let at = |mount: &Value| Access::Mounted(text(mount, "mountPath").unwrap_or_default().into());
    if let Some(mount) = volumes.iter().find_map(|(name, _)| mounted(name)) {
        return at(mount);
    }
    let endpoint = endpoint(container);
    // Another volume may hold the socket, too, where the path says so.
    if let Some(path) = endpoint.and_then(|endpoint| endpoint.strip_prefix("unix:")) {
        let holds = |mount: &&Value| text(mount, "mountPath").is_some_and(|folder| lies_in(path, folder));
        if let Some(mount) = mounts().find(holds) {
            return at(mount);
        }
    }
    let elsewhere = endpoint.is_some_and(|endpoint| !endpoint.starts_with("unix:"));
    if elsewhere || (volumes.is_empty() && endpoint.is_none()) {
        return Access::Untold;
    }
    Access::Missing {
        volume: volumes.first().map(|(name, of)| ((*name).into(), (*of).into())),
        endpoint: endpoint.map(Into::into),
        mounts: mounts().filter_map(|mount| Some(text(mount, "name")?.into())).collect(),
    }
}

/// A volume that holds the socket: its name, and what it is of.
fn of_socket(volume: &Value) -> Option<(&str, &str)> {
    let name = text(volume, "name")?;
    let csi =
        optional(volume.get("csi")).and_then(|csi| text(csi, "driver")).filter(|driver| *driver == DRIVER);
    let host = optional(volume.get("hostPath")).and_then(|host| text(host, "path"));
    let host = host.filter(|path| path.contains("spire") || path.contains("spiffe"));
    Some((name, csi.or(host)?))
}

fn endpoint(container: &Value) -> Option<&str> {
    let named = |one: &&Value| text(one, "name") == Some(VARIABLE);
    text(list(Some(container), "env").iter().find(named)?, "value").filter(|value| !value.is_empty())
}

/// Whether a path lies in a folder, or is it.
fn lies_in(path: &str, folder: &str) -> bool {
    let parts =
        |text: &str| text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    !folder.is_empty() && parts(path).starts_with(&parts(folder))
}

fn list<'a>(parent: Option<&'a Value>, field: &str) -> &'a [Value] {
    parent.and_then(|parent| parent.get(field)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(volumes: &Value, container: &Value) -> Access {
        access(Some(&json!({"volumes": volumes})), container)
    }

    #[test]
    fn what_holds_the_socket_is_known_by_its_driver_or_by_its_path() {
        let csi = json!([{"name": "api", "csi": {"driver": "csi.spiffe.io"}}]);
        let host = json!([{"name": "api", "hostPath": {"path": "/run/spire/agent-sockets"}}]);
        let mounts = json!({"volumeMounts": [{"name": "api", "mountPath": "/s"}]});
        for volumes in [csi, host] {
            assert_eq!(of(&volumes, &mounts), Access::Mounted("/s".into()), "{volumes}");
            let without = of(&volumes, &json!({"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}));
            assert!(matches!(without, Access::Missing { volume: Some(_), .. }), "{volumes}");
        }
        let other = json!([{"name": "api", "csi": {"driver": "secrets-store.csi.k8s.io"}}, {"name": "l", "hostPath": {"path": "/var/log"}}]);
        assert_eq!(of(&other, &mounts), Access::Untold);
    }

    #[test]
    fn the_variable_says_where_the_socket_is_to_be() {
        let env = |value: &str, at: &str| json!({"env": [{"name": "SPIFFE_ENDPOINT_SOCKET", "value": value}], "volumeMounts": [{"name": "v", "mountPath": at}]});
        let none = json!([]);
        assert_eq!(of(&none, &env("unix:///run/s/a.sock", "/run/s")), Access::Mounted("/run/s".into()));
        assert_eq!(of(&none, &env("unix:/run/s/a.sock", "/run/")), Access::Mounted("/run/".into()));
        let missing = of(&none, &env("unix:///run/s/a.sock", "/run/sockets"));
        assert!(matches!(missing, Access::Missing { volume: None, endpoint: Some(_), .. }), "{missing:?}");
        assert_eq!(of(&none, &env("tcp://127.0.0.1:8081", "/x")), Access::Untold);
    }

    #[test]
    fn what_is_of_another_type_counts_as_absent() {
        for odd in [json!(null), json!(1), json!([]), json!({"volumes": 1, "env": {}, "volumeMounts": "x"})] {
            assert_eq!(access(Some(&odd), &odd), Access::Untold, "{odd}");
        }
    }
}
