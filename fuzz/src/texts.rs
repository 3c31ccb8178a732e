//! What stands in one field or flag.

use kleym_core::name::{Namespace, ObjectName};
use kleym_core::selector::{Item, SelectorSet};
use kleym_core::spiffe::{self, PathGrants, TrustDomain, Truth};
use kleym_core::template::Template;
use kleym_core::text::bounded;

use crate::assert_presentable;

fn namespace() -> Namespace {
    Namespace::parse("llm").expect("it is a valid name")
}

/// A template is refused with a message, or rendered to its literals and values and nothing else.
pub fn template(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    let rendered =
        Template::parse(&source).and_then(|template| template.render(|_| Some("{{.TrustDomain}}")));
    match rendered {
        Ok(text) => {
            let substituted = source.matches("{{").count();
            assert!(text.len() <= source.len() + substituted * "{{.TrustDomain}}".len());
            // What is substituted is not looked at again.
            assert!(text.matches("{{.TrustDomain}}").count() >= substituted);
        }
        Err(error) => assert_presentable(&bounded(error.to_string())),
    }
}

/// A trust domain is refused with a message, or taken as it is written.
pub fn trust_domain(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match TrustDomain::parse(&text) {
        Ok(domain) => {
            assert_eq!(domain.as_str(), text);
            assert!(
                text.len() <= 255
                    && text.bytes().all(|byte| {
                        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte)
                    })
            );
        }
        Err(problem) => assert!(!problem.is_empty()),
    }
}

/// A SPIFFE ID that is allowed lies under its namespace or under what was granted to it, and speaks the truth.
pub fn spiffe_id(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let namespace = namespace();
    let (objective, pool) = (ObjectName::parse("chat"), ObjectName::parse("llama"));
    let (Ok(objective), Ok(pool)) = (objective, pool) else { unreachable!("they are valid names") };
    let domain = TrustDomain::parse("example.org").expect("it is a trust domain");
    let grants = PathGrants::parse(["llm=/models"]).expect("it is a grant");
    for objective in [Some(&objective), None] {
        let truth = Truth { namespace: &namespace, service_account: "server", objective, pool: &pool };
        match spiffe::check(&text, &domain, &grants, truth) {
            Ok(id) => {
                assert_eq!(id.as_str(), text);
                let path = text.strip_prefix("spiffe://example.org/").expect("it has the trust domain");
                let segments: Vec<&str> = path.split('/').collect();
                match segments.as_slice() {
                    ["ns", "llm", "sa", account, ..] => assert_eq!(*account, "server"),
                    ["ns", "llm", "objective", name, ..] => {
                        assert_eq!((*name, objective.is_some()), ("chat", true));
                    }
                    ["ns", "llm", "pool", name, rest @ ..] => {
                        assert_eq!(*name, "llama");
                        assert!(objective.is_none() || !rest.is_empty(), "{text} is the pool's own");
                    }
                    ["ns", "llm", _, ..] | ["models", _, ..] => {}
                    _ => panic!("{text} is not the namespace's"),
                }
            }
            Err(error) => assert_presentable(&bounded(error.to_string())),
        }
    }
}

/// Prefixes are refused with a message, or belong to one namespace each.
pub fn path_grants(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match PathGrants::parse(text.lines()) {
        Ok(grants) => {
            let all: Vec<_> =
                grants.iter().map(|(namespace, prefix)| (namespace, prefix.to_string())).collect();
            for (namespace, prefix) in &all {
                assert!(prefix.starts_with('/') && !prefix.ends_with('/'), "{prefix}");
                let first = prefix.split('/').nth(1).unwrap_or_default().to_ascii_lowercase();
                assert!(first != "ns" && !first.starts_with("spire"), "{prefix}");
                for (other, _) in all.iter().filter(|(other, _)| other != namespace) {
                    assert!(
                        !grants.covers(other, &format!("{prefix}/x")),
                        "{prefix} is of {namespace} and {other}"
                    );
                }
            }
        }
        Err(error) => assert_presentable(&bounded(error.to_string())),
    }
}

/// A selector is refused with a message, or one that SPIRE takes as it is written.
pub fn selector_item(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Item::parse(&text) {
        Ok(item) => {
            assert_eq!(item.as_str(), text);
            assert!(text.len() <= 255 && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
            assert!(!text.contains(['{', '}']));
            assert!(text.ends_with(item.value()) && text.starts_with(item.prefix()));
        }
        Err(error) => assert_presentable(&bounded(error.to_string())),
    }
}

/// A set is refused with a message, or holds what it was made of, sorted, inside the namespace.
pub fn selector_set(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let items: Vec<Item> = text.lines().filter_map(|line| Item::parse(line).ok()).collect();
    match SelectorSet::prove(items.clone(), &namespace()) {
        Ok(set) => {
            let texts: Vec<&str> = set.texts().collect();
            assert!(texts.is_sorted() && texts.contains(&"k8s:ns:llm"));
            assert_eq!(texts.iter().filter(|text| text.starts_with("k8s:ns:")).count(), 1);
            assert_eq!(texts.iter().filter(|text| text.starts_with("k8s:sa:")).count(), 1);
            assert!(items.iter().all(|item| texts.contains(&item.as_str())));
            let backwards = SelectorSet::prove(items.into_iter().rev().collect(), &namespace());
            assert_eq!(backwards.map(|set| set.fingerprint()), Ok(set.fingerprint()));
        }
        Err(error) => assert_presentable(&bounded(error.to_string())),
    }
}
