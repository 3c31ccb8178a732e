//! `kleym-operator uninstall-check`: when it refuses, and what it says when it cannot know.

use std::path::Path;

use kleym_core::kind::Kind;
use kube::config::Kubeconfig;
use serde_json::json;

use super::Installed;
use crate::world::{World, objective, per_objective, pool, refused_start as run_to_end, remove};

#[tokio::test]
async fn an_uninstall_is_refused_while_anything_is_left_that_only_the_operator_cleans_up() {
    let installed = Installed::new("uninstall", "").await;
    let world = &installed.world;
    let kubeconfig = installed.kubeconfig().await;
    let check = |more: &[&str]| {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let flags: Vec<&str> =
            [kubeconfig.as_str()].iter().chain(more).chain(&["uninstall-check"]).copied().collect();
        let output = run_to_end(&flags, &[]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(&[]), (Some(0), String::new()));

    let operator = world.operator_of(&kubeconfig, &[]).await;
    world.create_all([pool("llama", &[("app", "vllm")]), objective("chat", "llama")]).await;
    world.create(per_objective("chat", "chat", "vllm")).await;
    world.ready("chat").await;
    let (code, said) = check(&[]);
    assert_eq!(code, Some(1), "{said}");
    for words in [
        "kleym-operator: not to be uninstalled now: 1 binding has still to be cleaned up",
        &format!("\n  {}/chat\n", world.namespace),
        "kubectl delete inferenceidentitybindings.kleym.sonda.red --all --all-namespaces --wait",
        &format!("\n  {}\n", world.output_name("chat")),
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // What another instance granted is not in the way of this one; what this one granted while it watched more is.
    assert_eq!(check(&["--instance=another", "--watch-namespace=default"]).0, Some(0));
    let (code, said) = check(&["--watch-namespace=default"]);
    assert_eq!(code, Some(1), "{said}");
    let named = format!("in namespaces that it does not watch:\n  {}\n", world.output_name("chat"));
    assert!(said.contains("1 identity is still granted by this operator") && said.contains(&named), "{said}");

    world.delete(Kind::Binding, "chat").await;
    world.gone(Kind::Binding, "chat").await;
    operator.terminate().await;
    assert_eq!(check(&[]), (Some(0), String::new()));
    remove(&world.client, Kind::Output).await;
    assert_eq!(check(&[]), (Some(0), String::new()));
    let (code, said) = check(&["--kubeconfig=/nowhere"]);
    assert!(code != Some(0) && said.contains("kubeconfig"), "{said}");
}

#[tokio::test]
async fn an_uninstall_check_that_may_not_read_says_in_one_line_which_verb_on_what_and_what_to_do() {
    let check = |kubeconfig: &Path, world: &World| {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let watched = format!("--watch-namespace={}", world.namespace);
        let output = run_to_end(&[&kubeconfig, &watched, "uninstall-check"], &[]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let begin = "kleym-operator: not to be uninstalled now: cannot";
    let end = "; ask as the operator's service account, or give who asks the operator's roles\n";
    for (resource, what, place) in [
        (
            "customresourcedefinitions.apiextensions.k8s.io",
            "look for the definition `inferenceidentitybindings.kleym.sonda.red`",
            "in the whole cluster",
        ),
        (
            "inferenceidentitybindings.kleym.sonda.red",
            "list `inferenceidentitybindings.kleym.sonda.red`",
            "in namespace",
        ),
        (
            "clusterspiffeids.spire.spiffe.io",
            "list `clusterspiffeids.spire.spiffe.io`",
            "in the whole cluster",
        ),
    ] {
        let world = World::new("uninstall-blind").await;
        let place = match place {
            "in namespace" => format!("in namespace `{}`", world.namespace),
            other => other.to_owned(),
        };
        world.revoke(resource.split('.').next().unwrap(), &["list"]).await;
        let said = check(&world.kubeconfig_as(&world.user, &[]).unwrap(), &world);
        let expected =
            format!("{begin} {what}: the verb `list` on `{resource}` is not permitted {place}{end}");
        assert_eq!(said, expected);
    }
    // Nor is anybody shown the types of the library when nobody is known, or nobody answers.
    let world = World::new("uninstall-unknown").await;
    let mut config = Kubeconfig::read_from(world.kubeconfig_as(&world.user, &[]).unwrap()).unwrap();
    config.auth_infos[0].auth_info = serde_json::from_value(json!({"token": "worthless"})).unwrap();
    let path = world.folder().join("worthless.kubeconfig");
    let said_with = |config: &Kubeconfig| {
        std::fs::write(&path, serde_json::to_string(config).unwrap()).unwrap();
        check(&path, &world)
    };
    let definition = "look for the definition `inferenceidentitybindings.kleym.sonda.red`";
    let expected = format!(
        "{begin} {definition}: the API server does not know who asks; use a kubeconfig or a service account whose \
         credentials are valid\n"
    );
    assert_eq!(said_with(&config), expected);
    config.clusters[0].cluster.as_mut().unwrap().server = Some("https://127.0.0.1:1".to_owned());
    let said = said_with(&config);
    assert!(said.starts_with(&format!("{begin} {definition}: ")), "{said}");
    assert!(said.ends_with("; ask again when the API server can be reached\n"), "{said}");
    assert!(said.lines().count() == 1 && said.to_lowercase().contains("refused"), "{said}");
}
