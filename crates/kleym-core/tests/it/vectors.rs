//! Published test vectors of everything Kleym derives: output names, labels, hints and fingerprints. They were computed
//! apart from this code, from the forms in the contract, and never change: an output keeps its name for life.

use kleym_core::name::{ObjectName, binding_name_label, hint, output_name};

use crate::world::{binding, key};

struct Vector {
    instance: &'static str,
    namespace: String,
    binding: String,
    output: String,
    label: String,
    hint: String,
}

fn vector(instance: &'static str, binding: [&str; 2], output: &str, label: &str, hint: &str) -> Vector {
    let [namespace, binding] = binding.map(str::to_owned);
    Vector { instance, namespace, binding, output: output.into(), label: label.into(), hint: hint.into() }
}

fn vectors() -> Vec<Vector> {
    let (n63, x45, m63) = ("n".repeat(63), "x".repeat(45), "m".repeat(63));
    let b = |count| "b".repeat(count);
    let c = |count| "c".repeat(count);
    vec![
        vector(
            "default",
            ["llm", "chat"],
            "kleym-llm-chat-0209df3f4b3cf337565dc75f8ceb90b8",
            "chat",
            "llm/chat",
        ),
        vector(
            "default",
            ["llm", "chat.v2"],
            "kleym-llm-chat.v2-cd8d5c87f17b3ae53d2a4ec54f44b3b0",
            "chat.v2",
            "llm/chat.v2",
        ),
        // Another instance, another name.
        vector(
            "blue",
            ["llm", "chat"],
            "kleym-llm-chat-9d204380b0f172c60f37abc7e9cc19f0",
            "chat",
            "llm/chat",
        ),
        // One prefix, two bindings.
        vector("default", ["a-b", "c"], "kleym-a-b-c-096d20b50ae451b7c87786609ed732d2", "c", "a-b/c"),
        vector("default", ["a", "b-c"], "kleym-a-b-c-394fe72bcb6be68776c36cc43c27d8aa", "b-c", "a/b-c"),
        // The longest there is.
        vector(
            "default",
            [&n63, &b(253)],
            &format!("kleym-{n63}-{}-44b517baff12ae104133f142be9222d2", b(150)),
            &format!("{}_af5a4872cb1f5b20", b(46)),
            &format!("{n63}/{}_a7c2db547f951f55", b(174)),
        ),
        // A label that is cut at a dot, which must not end it.
        vector(
            "default",
            ["team", &format!("{x45}.{}", "y".repeat(18))],
            &format!("kleym-team-{x45}.{}-402835edc48791cffadea1251e4e4161", "y".repeat(18)),
            &format!("{x45}_64597395a6ff778e"),
            &format!("team/{x45}.{}", "y".repeat(18)),
        ),
        // The longest name that is a label as it is.
        vector(
            "default",
            ["team", &m63],
            &format!("kleym-team-{m63}-4999192c489b5dedde0f427d8a0838a2"),
            &m63,
            &format!("team/{m63}"),
        ),
        // An output name that is cut at a dot, and a hint of exactly 255 bytes.
        vector(
            "default",
            ["t", &format!("{}.{}", c(211), "d".repeat(41))],
            &format!("kleym-t-{}-a55c42b06ac66ecf2a5e64cd8126017e", c(211)),
            &format!("{}_d6cc101958622d71", c(46)),
            &format!("t/{}.{}", c(211), "d".repeat(41)),
        ),
        // A hint of 256 bytes, which is one too many, and one of 255.
        vector(
            "prod-1",
            [&n63, &format!("{}.{}", b(150), c(41))],
            &format!("kleym-{n63}-{}-13c9839351c604aabb25ac5939e50231", b(150)),
            &format!("{}_5eb1e38d0d194b8b", b(46)),
            &format!("{n63}/{}.{}_3caa12fcd209f24a", b(150), c(23)),
        ),
        vector(
            "prod-1",
            [&n63, &format!("{}.{}", b(150), c(40))],
            &format!("kleym-{n63}-{}-13632e82d614d377275fa8bc7764b617", b(150)),
            &format!("{}_0934c66a6c769392", b(46)),
            &format!("{n63}/{}.{}", b(150), c(40)),
        ),
    ]
}

#[test]
fn names_labels_and_hints_are_the_published_ones() {
    for Vector { instance, namespace, binding, output, label, hint: expected } in vectors() {
        let key = key(&namespace, &binding);
        assert_eq!(output_name(instance, &key).as_str(), output);
        assert_eq!(binding_name_label(&key.name), label);
        assert_eq!(hint(&key), expected);
        assert_eq!(ObjectName::parse(&output).as_ref().map(ObjectName::as_str), Ok(&*output));
        assert!(label.len() <= 63 && expected.len() <= 255);
    }
}

#[test]
fn fingerprints_are_the_published_ones() {
    let of = |templates: &[&str], labels: &[(&str, &str)]| {
        let declared = binding("b").pool_only().templates(templates.iter().copied());
        declared.render_on(labels).unwrap().selectors.fingerprint()
    };
    let base = ["k8s:ns:llm", "k8s:sa:server"];
    assert_eq!(
        of(&base, &[("app", "llama")]),
        "sha256:c805c2178270e73eca3de50705517e06ca4cb037bd2e2b2dae1ea8eea262ef8e"
    );
    assert_eq!(
        of(&["k8s:container-name:vllm", base[1], base[0]], &[("app", "llama")]),
        "sha256:0c5b1d47c05f447c3df8931caa025d45e492c1be9d0e7aaac6436415779e9fc2"
    );
    assert_eq!(
        of(
            &[base[0], base[1], "k8s:container-image:r:5000/vllm:v1", "unix:uid:1000"],
            &[("app.kubernetes.io/name", "llama")]
        ),
        "sha256:0bf4fd56cc1b0925f6d6920d115b7ad0721e0c47ceeaef047ed2dadd44ee6af6"
    );
    // Sorted bytewise, and an item that is there twice counts once.
    assert_eq!(
        of(
            &[base[0], base[1], "k8s:pod-label:app:llama", "k8s:pod-label:app-tier:b"],
            &[("app", "llama"), ("app-tier", "b")]
        ),
        "sha256:7fff4ddf608b443c70d90f7102916000992be7df7ab20c23a9daf98e8f191520"
    );
}
