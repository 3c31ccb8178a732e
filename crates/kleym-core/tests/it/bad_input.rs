//! Bad input at the core: whatever a binding holds, it is refused with the right reason and a message that disturbs
//! nothing, or rendered to something safe. A CRD can be older than the program, so nothing is taken on trust.

use kleym_core::fact::DiscriminatorType;
use kleym_core::refusal::{Condition, Reason, Refusal};
use kleym_core::render::Identity;

use crate::bad_names::NEVER;
use crate::naive::Plain;
use crate::obligations;
use crate::world::{Declared, assert_presentable, binding};

/// A refusal in words people can be shown, or an identity that obeys everything.
pub(crate) fn judged(result: Result<Identity, Refusal>) -> Result<Plain, Reason> {
    match result {
        Ok(identity) => {
            let plain = Plain::from(&identity);
            assert_eq!(obligations::identity(&plain, "llm"), Ok(()), "{plain:?}");
            Ok(plain)
        }
        Err(refusal) => {
            let message = refusal.message();
            assert_presentable(&message);
            let what = refusal.what();
            assert!(message.starts_with(&what) || message.len() == 1024, "{message}");
            assert!(Condition::ALL.contains(&refusal.condition()) && refusal.condition() != Condition::Ready);
            Err(refusal.reason())
        }
    }
}

fn refused(declared: &Declared) -> (Reason, String) {
    let refusal = declared.render().expect_err("this is refused");
    let message = refusal.message();
    assert_presentable(&message);
    (refusal.reason(), message)
}

#[test]
fn a_selector_template_renders_in_one_pass_or_is_refused() {
    // What is left of `k8s:container-image:<template>`.
    for (template, rendered) in [
        ("{{.Namespace}}", "llm"),
        ("{{ .BindingName }}", "b"),
        ("{{\t.ObjectiveName\n}}", "chat"),
        ("{{ .PoolName }}{{.PoolName}}", "llamallama"),
        ("{{.Mode}}", "PerObjective"),
        ("{{.ContainerDiscriminatorType}}", "ContainerName"),
        ("{{.ContainerDiscriminatorValue}}", "vllm"),
        ("{{.TrustDomain}}", "example.org"),
        ("a {{- .Mode -}} b", "aPerObjectiveb"),
        ("a\n\t {{- .Mode }}", "aPerObjective"),
        ("{{ .Mode -}} \r\n a", "PerObjectivea"),
        ("a%2fb", "a%2fb"),
        ("-}-", ""),
    ] {
        let item = format!("k8s:container-image:{template}");
        let result = judged(binding("b").template(&item).render());
        match rendered {
            "" => assert_eq!(result, Err(Reason::UnsafeSelector), "{template:?}"),
            _ => assert!(
                result.unwrap().items.contains(&format!("k8s:container-image:{rendered}")),
                "{template:?}"
            ),
        }
    }
    for template in [
        "{{",
        "}}",
        "{{}}",
        "{{ }}",
        "{{-}}",
        "{{-",
        "{{- -}}",
        "{{-.Mode}}",
        "{{.Mode-}}",
        "{{/*",
        "{{/* comment */}}",
        "{{.mode}}",
        "{{.Mode}",
        "{.Mode}}",
        "{{.Unknown}}",
        "{{Mode}}",
        "{{.}}",
        "{{$}}",
        "{{..Mode}}",
        "{{.Mode.Mode}}",
        "{{.Mode | len}}",
        "{{ printf \"%1000000d\" 1 }}",
        "{{if .Mode}}x{{end}}",
        "{{range .Mode}}{{end}}",
        "{{define \"x\"}}{{end}}",
        "{{template \"x\"}}",
        "{{ {{.Mode}} }}",
        "{{{.Mode}}}",
        "{{{{.Mode}}}}",
        "{{.Mode\u{a0}}}",
        "{{\u{200b}.Mode}}",
        "{{.\u{39c}ode}}",
        "{{.Mode}}}}",
        "}}{{.Mode}}",
        "{{.Mode\0}}",
        "{{`.Mode`}}",
        "\\{{",
        "{{\"{{\"}}",
    ] {
        let (reason, message) = refused(&binding("b").template(template));
        assert_eq!(reason, Reason::SelectorTemplateRenderFailed, "{template:?}");
        assert!(message.starts_with("spec.workloadSelectorTemplates[2] "), "{message}");
        let (reason, message) = refused(&binding("b").id(template));
        assert_eq!(reason, Reason::SpiffeIdRenderFailed, "{template:?}");
        assert!(message.starts_with("spec.spiffeIDTemplate "), "{message}");
    }
}

#[test]
fn a_placeholder_without_a_value_is_refused_and_the_known_ones_are_listed() {
    let pool_only = || binding("b").pool_only();
    for (declared, placeholder) in [
        (pool_only(), ".ContainerDiscriminatorType"),
        (pool_only(), ".ContainerDiscriminatorValue"),
        (binding("b").of_pool("llama", None), ".ObjectiveName"),
    ] {
        let template = format!("{{{{ {placeholder} }}}}");
        for (reason, message) in
            [refused(&declared.clone().template(&template)), refused(&declared.clone().id(&template))]
        {
            assert_eq!(reason.condition(), Condition::RenderFailure);
            assert!(message.contains(&format!("`{placeholder}`")), "{message}");
            for known in [".Namespace", ".BindingName", ".PoolName", ".Mode", ".TrustDomain"] {
                assert!(message.contains(&format!("`{known}`")), "{message}");
            }
        }
    }
    assert!(pool_only().template("unix:path:/{{ .ObjectiveName }}").render().is_ok());
}

#[test]
fn what_a_value_holds_is_never_executed() {
    for value in ["{{.TrustDomain}}", "{{.Namespace}}", "{{/*", "}}", "{{-", "a}b", "{"] {
        for kind in [DiscriminatorType::ContainerName, DiscriminatorType::ContainerImage] {
            let (reason, message) = refused(&binding("b").discriminator(kind, value));
            assert_eq!(reason, Reason::InvalidContainerDiscriminator, "{value}");
            assert!(message.contains(value) && message.contains("brace"), "{message}");
        }
    }
}

#[test]
fn a_discriminator_is_a_selector_value_or_refused() {
    let good = ["a", "A", ".", "..", "a/b", "a%b", "a:b", "a?b", "a#b", "a@b", "a\\b", "a`b", "k8s", "k8s:x"];
    for value in good.into_iter().chain(["r:5000/vllm:v1@sha256:aa", &"v".repeat(236)]) {
        let identity = judged(binding("b").container(value).render()).unwrap();
        assert!(identity.items.contains(&format!("k8s:container-name:{value}")));
    }
    let long = ["v".repeat(237), "v".repeat(512), "v".repeat(1_000_000)];
    let long = long.iter().map(String::as_str);
    for value in NEVER.into_iter().chain(["k8sns:x", "xunixuid:0", "k8spod-uid:x"]).chain(long) {
        if good.contains(&value) || ["a%2fb", "a,b"].contains(&value) {
            continue;
        }
        let (reason, _) = refused(&binding("b").container(value));
        assert_eq!(reason, Reason::InvalidContainerDiscriminator, "{value:?}");
    }
}

#[test]
fn a_selector_item_is_on_the_closed_list_or_refused_by_name() {
    let long = format!("k8s:container-image:{}", "i".repeat(235));
    for good in [
        "k8s:node-name:n1.example",
        "k8s:pod-name:p",
        "k8s:pod-label:app.kubernetes.io/name:x",
        "k8s:ns-label:team:a",
        "k8s:container-image:r:5000/vllm@sha256:aa",
        "k8s:pod-image:vllm:v1",
        "k8s:pod-init-image:vllm:v1",
        "k8s:pod-image-count:2",
        "k8s:pod-init-image-count:0",
        "k8s:pod-owner:ReplicaSet:x",
        "k8s:pod-owner-uid:ReplicaSet:x",
        "k8s:image-signature:verified",
        "k8s:image-signature-subject:a@b.c",
        "k8s:image-attestations:verified",
        "unix:uid:0",
        "unix:user:root",
        "unix:gid:0",
        "unix:group:root",
        "unix:supplementary_gid:0",
        "unix:supplementary_group:root",
        "unix:path:/usr/bin/x",
        "unix:sha256:aa",
        &long,
    ] {
        assert!(judged(binding("b").template(good).render()).unwrap().items.contains(&good.to_owned()));
    }
    for bad in [
        "x",
        ":",
        "::",
        ":::",
        "k8s",
        "k8s:",
        "k8s::",
        "k8s:x",
        "k8s::x",
        "k8s:x:y",
        "K8S:sa:x",
        "k8s:SA:x",
        " k8s:node-name:x",
        "k8s:node-name:x ",
        "k8s:node-name: x",
        "k8s:node-name:",
        "k8s:pod-uid:x",
        "k8s:pod-uid:",
        "k8s:pod-label:app",
        "k8s:pod-label::x",
        "k8s:pod-label:app:",
        "k8s:pod-label:a/b/c:x",
        "k8s:pod-label:app:x:y",
        "k8s:pod-label:app:-x",
        "k8s:ns-label:team",
        "k8s:ns-label:team:x/y",
        "k8s:pod-owner:x",
        "k8s:pod-owner::x",
        "k8s:pod-owner:x:",
        "k8s:image-signature-other:x",
        "k8s:image-signature-:x",
        "k8s:namespace:llm",
        "k8s:container:x",
        "docker:label:x:y",
        "aws_iid:tag:x:y",
        "unix",
        "unix:uid",
        "unix:uid:",
        "unix:pid:1",
        "systemd:id:x",
        "k8s:container-image:ak8scontainer-image:b",
        "k8s:container-image:aunixuid:0",
        "unix:path:/k8sns:x",
        "k8s:pod-label:xk8sns:v",
        "k8s:pod-owner:k8ssa:x",
        "k8s:node-name:\u{430}",
        "k8s:node-name:a\0",
        "k8s:node-name:a\u{1b}[31m",
        "k8s:node-name:\u{202e}a",
        "k8s:node-name:\u{1f999}",
        "k8s:node-name:{x}",
        "k8s:node-name:x\u{7f}",
        "k8s:ns:web",
        "k8s:ns:LLM",
        "k8s:ns:",
        "k8s:sa:other",
        "k8s:sa:Server",
        "k8s:sa:a/b",
        "k8s:container-name:proxy",
        "k8s:Container-Name:vllm",
        "k8s:pod-label:app:mistral",
        "k8s:pod-label:App:llama",
        "k8s:pod-label:app:Llama",
        &format!("{long}i"),
        &"x".repeat(1_000_000),
    ] {
        let (reason, message) = refused(&binding("b").template(bad));
        assert_eq!(reason, Reason::UnsafeSelector, "{bad:?}");
        let shown = bad.chars().take(60).collect::<String>().escape_default().to_string();
        assert!(message.contains(&shown), "{bad:?} is not named: {message}");
    }
}

#[test]
fn a_set_of_good_items_may_still_be_unsafe() {
    for (templates, named) in [
        (&["k8s:sa:server"][..], &["add `k8s:ns:llm`"][..]),
        (&["k8s:ns:llm"], &["add `k8s:sa:"]),
        (&["k8s:ns:llm", "k8s:ns:web", "k8s:sa:server"], &["`k8s:ns:web`", "`k8s:ns:llm`"]),
        (&["k8s:ns:llm", "k8s:sa:a", "k8s:sa:b"], &["`k8s:sa:a`", "`k8s:sa:b`"]),
        (
            &["k8s:ns:llm", "k8s:sa:a", "k8s:pod-label:app:x"],
            &["`k8s:pod-label:app:x`", "`k8s:pod-label:app:llama`"],
        ),
        (&["k8s:ns:llm", "k8s:sa:a", "k8s:node-name:a", "k8s:node-name:b"], &["`k8s:node-name:a`"]),
        (&["k8s:ns:llm", "k8s:sa:a", "k8s:pod-name:a", "k8s:pod-name:b"], &["`k8s:pod-name:b`"]),
        (
            &["k8s:ns:llm", "k8s:sa:a", "k8s:pod-image-count:1", "k8s:pod-image-count:2"],
            &["`k8s:pod-image-count:1`"],
        ),
        (
            &["k8s:ns:llm", "k8s:sa:a", "k8s:pod-init-image-count:1", "k8s:pod-init-image-count:2"],
            &["`k8s:pod-init-image-count:2`"],
        ),
        (&["k8s:ns:llm", "k8s:sa:a", "k8s:ns-label:t:a", "k8s:ns-label:t:b"], &["`k8s:ns-label:t:a`"]),
        (&["k8s:ns:llm", "k8s:sa:a", "unix:path:/A", "unix:path:/a"], &["`unix:path:/A`", "`unix:path:/a`"]),
        (&["k8s:ns:llm", "k8s:sa:a", "k8s:pod-label:T:x", "k8s:pod-label:t:x"], &["`k8s:pod-label:T:x`"]),
        (&[], &["k8s:ns:llm"]),
    ] {
        let (reason, message) = refused(&binding("b").pool_only().templates(templates.iter().copied()));
        assert_eq!(reason, Reason::UnsafeSelector, "{templates:?}");
        for name in named {
            assert!(message.contains(name), "{message}");
        }
    }
    // Equal items count once, several owners and signatures are possible, and the pool's own label may be repeated.
    let declared = binding("b").templates([
        "k8s:ns:llm",
        "k8s:ns:{{ .Namespace }}",
        "k8s:sa:a",
        "k8s:sa:a",
        "k8s:pod-label:app:llama",
        "k8s:container-name:vllm",
        "k8s:pod-owner:Job:a",
        "k8s:pod-owner:Job:b",
    ]);
    assert_eq!(judged(declared.render()).unwrap().items.len(), 6);
}

#[test]
fn an_id_lies_where_its_namespace_may_go_or_is_refused() {
    let path = |length: usize| {
        let head = "spiffe://example.org/ns/llm/";
        format!("{head}{}", "x".repeat(length - head.len()))
    };
    for good in [
        "spiffe://example.org/ns/llm/x",
        "spiffe://example.org/ns/llm/X/y._-/0",
        "spiffe://example.org/ns/llm/ns/web",
        "spiffe://example.org/ns/llm/x/sa/other",
        "spiffe://example.org/ns/llm/sa/server",
        "spiffe://example.org/ns/llm/sa/server/x/y",
        "spiffe://example.org/ns/llm/objective/chat",
        "spiffe://example.org/ns/llm/objective/chat/x",
        "spiffe://example.org/ns/llm/pool/llama/x",
        "spiffe://example.org/ns/llm/objectives/x",
        "spiffe://example.org/team-a/x",
        "spiffe://example.org/TEAM-A/x",
        "spiffe://example.org/team-c/x/y",
        &path(255),
    ] {
        assert_eq!(judged(binding("b").id(good).render()).unwrap().id, good);
    }
    let encoded = "spiffe://example.org/ns/llm/a%2f..%2fb";
    for bad in [
        "x",
        "spiffe",
        "spiffe://",
        "spiffe:///ns/llm/x",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org/ns",
        "spiffe://example.org/ns/",
        "spiffe://example.org/ns/llm",
        "spiffe://example.org/ns/llm/",
        "spiffe://example.org/ns/llm/x/",
        "spiffe://example.org//ns/llm/x",
        "spiffe://example.org/ns//llm/x",
        "spiffe://example.org/./ns/llm/x",
        "spiffe://example.org/ns/llm/../web/x",
        "spiffe://example.org/ns/llm/.",
        "spiffe://example.org/ns/web/x",
        "spiffe://example.org/ns/LLM/x",
        "spiffe://example.org/NS/llm/x",
        "spiffe://example.org/Ns/llm/x",
        "spiffe://example.org/ns/llm/sa",
        "spiffe://example.org/ns/llm/sa/other",
        "spiffe://example.org/ns/llm/sa/Server",
        "spiffe://example.org/ns/llm/SA/server",
        "spiffe://example.org/ns/llm/objective",
        "spiffe://example.org/ns/llm/objective/other",
        "spiffe://example.org/ns/llm/objective/Chat",
        "spiffe://example.org/ns/llm/Objective/chat",
        "spiffe://example.org/ns/llm/pool",
        "spiffe://example.org/ns/llm/pool/llama",
        "spiffe://example.org/ns/llm/pool/other/x",
        "spiffe://example.org/ns/llm/POOL/llama/x",
        "spiffe://example.org/team-a",
        "spiffe://example.org/team-ab/x",
        "spiffe://example.org/team-b/web/x",
        "spiffe://example.org/x",
        "spiffe://example.org/spire/agent/x",
        "spiffe://example.org/spire-controller-manager/x",
        "spiffe://example.net/ns/llm/x",
        "spiffe://Example.org/ns/llm/x",
        "SPIFFE://example.org/ns/llm/x",
        "Spiffe://example.org/ns/llm/x",
        "https://example.org/ns/llm/x",
        "spiffe://user@example.org/ns/llm/x",
        "spiffe://example.org:8443/ns/llm/x",
        "spiffe://example.org/ns/llm/x?y",
        "spiffe://example.org/ns/llm/x#y",
        "spiffe://example.org/ns/llm/a b",
        "spiffe://example.org/ns/llm/a\\b",
        "spiffe://example.org/ns/llm/a\n",
        "spiffe://example.org/ns/llm/a\0",
        "spiffe://example.org/ns/llm/\u{1b}[31m",
        "spiffe://example.org/ns/llm/\u{202e}",
        "spiffe://example.org/ns/llm/\u{430}",
        "spiffe://example.org/ns/llm/cafe\u{301}",
        "spiffe://example.org/ns/llm/\u{1f999}",
        "spiffe://example.org/ns/llm/{x}",
        "spiffe://example.org/ns/llm/~",
        "spiffe://example.org/ns/llm/a:b",
        " spiffe://example.org/ns/llm/x",
        "spiffe://example.org/ns/llm/x ",
        encoded,
        &path(256),
        &path(1_000_000),
    ] {
        let (reason, message) = refused(&binding("b").id(bad));
        assert_eq!(reason, Reason::InvalidSpiffeId, "{bad:?}");
        assert!(message.starts_with("spec.spiffeIDTemplate gives the SPIFFE ID `"), "{message}");
    }
    // In PoolOnly the pool's head is true, and the objective's is not.
    let pool_only = |id: &str| judged(binding("b").pool_only().id(id).render());
    assert!(pool_only("spiffe://example.org/ns/llm/pool/llama").is_ok());
    assert!(pool_only("spiffe://example.org/ns/llm/pool/llama/x").is_ok());
    assert_eq!(pool_only("spiffe://example.org/ns/llm/objective/chat"), Err(Reason::InvalidSpiffeId));
    assert_eq!(pool_only("spiffe://example.org/ns/llm/objective/chat/x"), Err(Reason::InvalidSpiffeId));
}

#[test]
fn a_default_id_that_is_too_long_is_refused_like_any_other() {
    let objective = "o".repeat(253);
    let (reason, message) = refused(&binding("b").objective(&objective));
    assert_eq!(reason, Reason::InvalidSpiffeId);
    assert!(message.contains("bytes"), "{message}");
}

#[test]
fn a_million_placeholders_are_refused_for_their_length_alone() {
    let source = "{{.Namespace}}".repeat(1_000_000);
    assert_eq!(refused(&binding("b").template(&source)).0, Reason::UnsafeSelector);
    assert_eq!(refused(&binding("b").id(&source)).0, Reason::InvalidSpiffeId);
    let unclosed = "{{".repeat(1_000_000);
    assert_eq!(refused(&binding("b").template(&unclosed)).0, Reason::SelectorTemplateRenderFailed);
    let templates = vec!["k8s:ns:llm"; 1_000_000];
    assert_eq!(refused(&binding("b").templates(templates)).0, Reason::UnsafeSelector);
}
