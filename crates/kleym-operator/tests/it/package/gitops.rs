//! What GitOps tools make of a binding: Argo CD's health script, run by the Lua that Argo CD runs it with, over objects that
//! a real operator reported on and over the exported ones that are handed on with it.

use kleym_core::kind::Kind;
use serde_json::{Value, json};

use super::{as_text, objects, printed, root};
use crate::world::{World, objective, per_objective, pool};

const FOLDER: &str = "examples/gitops/argocd/kleym.sonda.red/InferenceIdentityBinding";

/// The health that the script sees: status and message.
fn health(object: &Value) -> (String, String) {
    let script = std::fs::read_to_string(root().join(FOLDER).join("health.lua")).unwrap();
    let program = format!(
        "obj = {}\nlocal function check()\n{script}\nend\nlocal health = check()\nprint(health.status)\nprint(health.message)\n",
        lua(object)
    );
    let folder = root().join("target");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("health-{:?}.lua", std::thread::current().id()));
    std::fs::write(&path, program).unwrap();
    let said = printed("glua", &[path.to_str().unwrap()], "");
    std::fs::remove_file(path).unwrap();
    let (status, message) = said.split_once('\n').unwrap();
    (status.to_owned(), message.trim_end().to_owned())
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => {
            let escaped: String = text.bytes().map(|byte| format!("\\{byte:03}")).collect();
            format!("\"{escaped}\"")
        }
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!("[{}] = {}", lua(&json!(key)), lua(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
    }
}

#[tokio::test]
async fn argo_cd_sees_bindings_as_the_operator_reports_them() {
    let world = World::new("health").await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    let expect = |object: &Value, status: &str, message: &str| {
        let seen = health(object);
        assert_eq!(seen.0, status, "{seen:?}");
        assert!(seen.1.starts_with(message), "{seen:?}");
    };
    // As it was created, with the status that the definition gives it.
    let new = world.binding("chat").await;
    expect(&new, "Progressing", "Waiting for the Kleym operator");

    let _operator = world.operator().await;
    let missing = world.refused("chat", "TargetObjectiveNotFound").await;
    expect(&missing, "Progressing", "TargetObjectiveNotFound: ");
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    let ready = world.ready("chat").await;
    expect(&ready, "Healthy", "Reconciled: ");
    let id = json!("spiffe://kleym.sonda.red/ns/{{ .Namespace }}/second");
    world.create(per_objective("second", "chat", "vllm").with("/spec/spiffeIDTemplate", id)).await;
    let refused = world.refused("second", "IdentityCollision").await;
    expect(&refused, "Degraded", "IdentityCollision: ");
    let changed = json!({"metadata": {"generation": 9}});
    let mut stale = ready.clone();
    stale["metadata"]["generation"] = changed["metadata"]["generation"].clone();
    expect(&stale, "Progressing", "Waiting for the Kleym operator");
    world.delete(Kind::Binding, "second").await;

    if let Ok(folder) = std::env::var("KLEYM_EXPORT") {
        let cases =
            [("new", new), ("missing", missing), ("ready", ready), ("refused", refused), ("stale", stale)];
        for (name, mut object) in cases {
            object["metadata"].as_object_mut().unwrap().remove("managedFields");
            std::fs::write(format!("{folder}/{name}.json"), object.to_string()).unwrap();
        }
    }
}

#[test]
fn the_exported_objects_have_the_health_that_their_test_says() {
    let read = |name: &str| std::fs::read_to_string(root().join(FOLDER).join(name)).unwrap();
    let tests: Value = serde_saphyr::from_str(&read("health_test.yaml")).unwrap();
    let tests = tests["tests"].as_array().unwrap();
    assert_eq!(tests.len(), std::fs::read_dir(root().join(FOLDER).join("testdata")).unwrap().count());
    for test in tests {
        let path = as_text(&test["inputPath"]);
        let expected = &test["healthStatus"];
        let seen = health(&objects(&read(path))[0]);
        assert_eq!(
            (seen.0.as_str(), seen.1.as_str()),
            (as_text(&expected["status"]), as_text(&expected["message"])),
            "{path}"
        );
    }
}
