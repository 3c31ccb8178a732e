//! A policy of the API server that changes what is written on its way in.

use serde_json::{Value, json};

use super::{World, text};

const VERSION: &str = "admissionregistration.k8s.io/v1";

/// Where objects of a resource of the API's own are created, or the one of this name is.
fn path(resource: &str, name: &str) -> String {
    format!("/apis/{VERSION}/{resource}/{name}").trim_end_matches('/').to_owned()
}

impl World {
    /// Has every update of what these constraints match changed by a JSON patch, a CEL expression, from soon on.
    pub(crate) async fn change_updates(&self, group: &str, resource: &str, constraints: Value, patch: &str) {
        let name = &self.namespace;
        let mut constraints = constraints;
        constraints["resourceRules"] = json!([
            {"apiGroups": [group], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": [resource]},
        ]);
        let mutation = json!({"patchType": "JSONPatch", "jsonPatch": {"expression": patch}});
        let policy = json!({
            "apiVersion": VERSION, "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "matchConstraints": constraints, "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "mutations": [mutation],
            },
        });
        let bound = json!({
            "apiVersion": VERSION, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name},
        });
        for (resource, object) in
            [("mutatingadmissionpolicies", policy), ("mutatingadmissionpolicybindings", bound)]
        {
            let request = http::Request::post(path(resource, "")).header("content-type", "application/json");
            let made = self.client.request::<Value>(request.body(object.to_string().into_bytes()).unwrap());
            assert_eq!(text(&made.await.unwrap()["metadata"]["name"]), name);
        }
    }

    /// Ends that, soon.
    pub(crate) async fn change_updates_no_more(&self) {
        for resource in ["mutatingadmissionpolicybindings", "mutatingadmissionpolicies"] {
            let request = http::Request::delete(path(resource, &self.namespace)).body(Vec::new()).unwrap();
            self.client.request::<Value>(request).await.unwrap();
        }
    }
}
