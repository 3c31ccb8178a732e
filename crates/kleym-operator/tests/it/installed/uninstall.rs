//! `kleym-operator uninstall-check`: when it refuses, and what it says when it cannot know.

use kleym_core::kind::Kind;

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
