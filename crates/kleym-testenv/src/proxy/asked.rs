//! What a client asked, in the words of RBAC. Nothing is decided about it here.

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use serde_json::Value;

/// One call that arrived at the proxy.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which one it was, from 0 on.
    pub number: usize,
    /// The verb as in RBAC: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'static str,
    /// `group/resource`, the bare resource in the core group, or the path when it names no resource.
    pub resource: String,
    /// The subresource (`status`), or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty; of a create it is read from the body.
    pub name: String,
    /// Path and query as sent.
    pub uri: String,
    /// The body, or null.
    pub body: Value,
}

impl Asked {
    /// Reads a request.
    pub(super) fn read(number: usize, method: &Method, uri: &Uri, body: &Bytes) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let (group, rest) = match segments.as_slice() {
            ["api", _, rest @ ..] => ("", rest),
            ["apis", group, _, rest @ ..] => (*group, rest),
            _ => ("", [].as_slice()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let part = |nth: usize| rest.get(nth).copied().unwrap_or_default().to_owned();
        let named = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let watches = uri.query().is_some_and(|query| {
            query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1" || pair == "watch")
        });
        let verb = match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ if watches => "watch",
            _ if rest.len() == 1 => "list",
            _ => "get",
        };
        Self {
            number,
            verb,
            resource: match (group, rest.first()) {
                (_, None) => uri.path().to_owned(),
                ("", Some(resource)) => (*resource).to_owned(),
                (group, Some(resource)) => format!("{group}/{resource}"),
            },
            subresource: part(2),
            namespace: namespace.to_owned(),
            name: if rest.len() > 1 { part(1) } else { named.to_owned() },
            uri: uri.to_string(),
            body,
        }
    }

    /// Whether the call may change something.
    pub fn writes(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete")
    }

    /// `<verb> <resource>[/<subresource>]`, without the group.
    pub fn brief(&self) -> String {
        let resource = match self.resource.rsplit_once('/') {
            Some((group, resource)) if !group.is_empty() && !self.resource.starts_with('/') => resource,
            _ => &self.resource,
        };
        match self.subresource.as_str() {
            "" => format!("{} {resource}", self.verb),
            subresource => format!("{} {resource}/{subresource}", self.verb),
        }
    }

    /// Whether it is this verb on this resource, the latter without its group and with its subresource.
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.brief() == format!("{verb} {resource}")
    }
}

/// The headers that are passed on; the others belong to one connection.
pub(super) fn passed_on(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    const OF_A_CONNECTION: [&str; 6] =
        ["host", "connection", "content-length", "transfer-encoding", "keep-alive", "upgrade"];
    let names = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    names.filter(|(name, _)| !OF_A_CONNECTION.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, uri: &'static str, body: &'static str) -> (String, String, String) {
        let asked = Asked::read(0, method, &Uri::from_static(uri), &Bytes::from_static(body.as_bytes()));
        (asked.brief(), asked.namespace, asked.name)
    }

    #[test]
    fn a_request_is_read_as_rbac_reads_it() {
        for (method, uri, body, expected) in [
            (Method::GET, "/apis/a.b/v1/things?limit=5", "", ("list things", "", "")),
            (Method::GET, "/apis/a.b/v1/things?limit=5&watch=true", "", ("watch things", "", "")),
            (Method::GET, "/apis/a.b/v1/namespaces/x/things/y", "", ("get things", "x", "y")),
            (
                Method::PUT,
                "/apis/a.b/v1/namespaces/x/things/y/status",
                "",
                ("update things/status", "x", "y"),
            ),
            (Method::POST, "/apis/a.b/v1/things", r#"{"metadata":{"name":"n"}}"#, ("create things", "", "n")),
            (
                Method::DELETE,
                "/apis/a.b/v1/things/n",
                r#"{"kind":"DeleteOptions"}"#,
                ("delete things", "", "n"),
            ),
            (Method::PATCH, "/api/v1/namespaces/x", "{}", ("patch namespaces", "", "x")),
            (Method::GET, "/apis/a.b/v1", "", ("get /apis/a.b/v1", "", "")),
            (Method::GET, "/version", "", ("get /version", "", "")),
        ] {
            let (brief, namespace, name) = read(&method, uri, body);
            assert_eq!((brief.as_str(), namespace.as_str(), name.as_str()), expected, "{uri}");
        }
    }
}
