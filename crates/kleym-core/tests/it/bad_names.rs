//! Bad names and values: every kind of text an administrator or a tenant can put where a name belongs is either that
//! kind of name or refused in words that disturb no terminal.

use kleym_core::fact::{PoolSelectorError, pool_labels};
use kleym_core::label::{LabelKey, LabelValue};
use kleym_core::name::{
    ClassName, Instance, NameError, Namespace, ObjectName, Uid, check_subdomain, describe,
};
use kleym_core::settings::DEFAULT_TRUST_DOMAIN;
use kleym_core::spiffe::{PathGrants, TrustDomain};
use proptest::prelude::{any, prop_oneof, proptest};

use crate::obligations::{dns_label, label_key, label_part, subdomain};
use crate::world::{assert_presentable, cases};

/// Texts that are no name of any kind.
pub(crate) const NEVER: [&str; 33] = [
    "",
    " ",
    "\t",
    "a ",
    " a",
    "a b",
    "a\\b",
    "a%b",
    "a%2fb",
    "a:b",
    "a?b",
    "a#b",
    "a@b",
    "a\nb",
    "a\n",
    "a\r",
    "a\0b",
    "\u{1b}[31ma",
    "\u{202e}a",
    "a\u{200b}",
    "\u{feff}a",
    "\u{a0}a",
    "\u{430}pp",
    "\u{ff41}",
    "caf\u{e9}",
    "cafe\u{301}",
    "\u{212a}ube",
    "\u{130}",
    "\u{1f999}",
    "{{.TrustDomain}}",
    "a}b",
    "a`b",
    "a,b",
];

/// Text, and whether it is an object name, a namespace, a label value and a label key.
fn table() -> Vec<(String, [bool; 4])> {
    let a = |count| "a".repeat(count);
    let mut table: Vec<(String, [bool; 4])> = [
        (a(1), [true, true, true, true]),
        (a(63), [true, true, true, true]),
        (a(64), [true, false, false, false]),
        (a(253), [true, false, false, false]),
        (a(254), [false, false, false, false]),
        (a(1_000_000), [false, false, false, false]),
        ("a.b".into(), [true, false, true, true]),
        ("a..b".into(), [false, false, true, true]),
        (".".into(), [false, false, false, false]),
        ("..".into(), [false, false, false, false]),
        ("a.".into(), [false, false, false, false]),
        ("-a".into(), [false, false, false, false]),
        ("a-".into(), [false, false, false, false]),
        ("a.-b".into(), [false, false, true, true]),
        ("A".into(), [false, false, true, true]),
        ("a_b".into(), [false, false, true, true]),
        ("0".into(), [true, true, true, true]),
        ("a/b".into(), [false, false, false, true]),
        ("a/B".into(), [false, false, false, true]),
        ("A/b".into(), [false, false, false, false]),
        ("a/b/c".into(), [false, false, false, false]),
        ("/a".into(), [false, false, false, false]),
        ("a/".into(), [false, false, false, false]),
        (format!("{}/{}", a(253), a(63)), [false, false, false, true]),
        (format!("{}/{}", a(254), a(63)), [false, false, false, false]),
        (format!("{}/{}", a(253), a(64)), [false, false, false, false]),
    ]
    .into();
    table.extend(NEVER.map(|text| (text.to_owned(), [false; 4])));
    table
}

fn assert_described<T>(text: &str, result: Result<T, NameError>) {
    if let Err(error) = result {
        assert_presentable(&describe(text, &error));
    }
}

#[test]
fn a_text_is_a_name_or_refused_in_words_that_disturb_nothing() {
    for (text, [object, namespace, value, key]) in table() {
        let shown = text.chars().take(80).collect::<String>();
        assert_eq!(ObjectName::parse(&text).is_ok(), object, "{shown:?}");
        assert_eq!(check_subdomain(&text).is_ok(), object, "{shown:?}");
        assert_eq!(Namespace::parse(&text).is_ok(), namespace, "{shown:?}");
        assert_eq!(LabelValue::parse(&text).is_ok(), value, "{shown:?}");
        assert_eq!(Instance::parse(&text).is_ok(), value, "{shown:?}");
        assert_eq!(ClassName::parse(&text).is_ok(), value, "{shown:?}");
        assert_eq!(LabelKey::parse(&text).is_ok(), key, "{shown:?}");
        assert_described(&text, ObjectName::parse(&text));
        assert_described(&text, Namespace::parse(&text));
        assert_described(&text, Instance::parse(&text));
        assert_described(&text, Uid::parse(&text));
        for entries in [[(text.as_str(), "v")], [("k", text.as_str())]] {
            if let Err(error) = pool_labels(entries) {
                assert_presentable(&error.to_string());
            }
        }
    }
}

#[test]
fn a_trust_domain_is_canonical_or_stops_the_start() {
    for good in [DEFAULT_TRUST_DOMAIN, "a", "a_b", "-a", "a..b", "0", &"a".repeat(255)] {
        assert!(TrustDomain::parse(good).is_ok(), "{good}");
    }
    let never = NEVER.map(str::to_owned).into_iter();
    let bad = ["spiffe://a", "http://a", "A", "Example.org", "a/b", "a/", "/a", "a:80", "u@a", "\u{430}"];
    for bad in never.chain(bad.map(str::to_owned)).chain(["a".repeat(256), "a".repeat(1_000_000)]) {
        let error = TrustDomain::parse(&bad).expect_err(&bad);
        assert_presentable(&error);
    }
}

#[test]
fn a_path_grant_is_a_prefix_of_one_namespace_or_stops_the_start() {
    for good in [
        &["a=/x"][..],
        &["a=/x/y.z/_-"],
        &["a=/nsx", "a=/xspire", "a=/x/ns", "a=/x/spire"],
        &["a=/x", "a=/x/y", "a=/x", "b=/y", "b=/xy"],
        &["a=/x/y", "b=/x/z"],
        &["a=/sa/x", "b=/pool"],
    ] {
        assert!(PathGrants::parse(good.iter().copied()).is_ok(), "{good:?}");
    }
    let bad: [&[&str]; 32] = [
        &[""],
        &["a"],
        &["=/x"],
        &["a="],
        &["a=x"],
        &["a=/"],
        &["a=/x/"],
        &["a=//x"],
        &["a=/x//y"],
        &["a=/."],
        &["a=/x/.."],
        &["a=/ns"],
        &["a=/ns/a"],
        &["a=/NS/a"],
        &["a=/spire"],
        &["a=/Spire/x"],
        &["a=/spire-controller-manager"],
        &["a=/spirefoo"],
        &["A=/x"],
        &["a.b=/x"],
        &["a=/x y"],
        &["a=/x%2f"],
        &["a=/\u{430}"],
        &["a=/x\n"],
        &["a=/{{.Namespace}}"],
        &["a=/x=y"],
        &["a=/x", "b=/x"],
        &["a=/x", "b=/x/y"],
        &["a=/x/y", "b=/x"],
        &["a=/x", "b=/X/y"],
        &["a=/y", "a=/x", "b=/x/y/z"],
        &["\u{202e}=/x"],
    ];
    for bad in bad {
        let error = PathGrants::parse(bad.iter().copied()).expect_err(&format!("{bad:?}"));
        assert_presentable(&error.to_string());
    }
    for size in [254, 1_000_000] {
        let grant = format!("{}=/x", "a".repeat(size));
        assert_presentable(&PathGrants::parse([grant.as_str()]).unwrap_err().to_string());
    }
}

#[test]
fn a_pool_selector_is_proved_or_refused_by_name() {
    let many = |count: usize| (0..count).map(|n| (format!("l{n:04}"), "v".to_owned())).collect::<Vec<_>>();
    let parse = |entries: &[(String, String)]| {
        pool_labels(entries.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    };
    assert_eq!(parse(&many(64)).unwrap().len(), 64);
    for count in [65, 1000] {
        assert_eq!(parse(&many(count)), Err(PoolSelectorError::TooMany(count)));
    }
    assert_eq!(parse(&[]), Err(PoolSelectorError::Empty));
    // The first offender in byte order, whatever the order of arrival.
    let mut entries = many(3);
    entries.extend([("b/b/b".to_owned(), "v".to_owned()), ("a a".to_owned(), "v".to_owned())]);
    let expected = parse(&entries).unwrap_err();
    assert!(expected.to_string().contains("`a a`"));
    for _ in 0..entries.len() {
        entries.rotate_left(1);
        assert_eq!(parse(&entries), Err(expected.clone()));
    }
    // An item of 255 bytes is accepted, one of 256 is not.
    let key = |length: usize| format!("{}/{}", "p".repeat(length - 64), "n".repeat(63));
    let label = |length: usize| vec![(key(length - "k8s:pod-label::v".len()), "v".to_owned())];
    assert!(parse(&label(255)).is_ok());
    assert!(matches!(parse(&label(256)), Err(PoolSelectorError::Item { .. })));
    for value in NEVER.into_iter().chain(["-v", "v.", &"v".repeat(64), &"v".repeat(1_000_000)]) {
        let error = parse(&[("app".to_owned(), value.to_owned())]).expect_err(value);
        assert!(matches!(error, PoolSelectorError::Value { .. }));
        assert!(error.to_string().contains("`app`"));
        assert_presentable(&error.to_string());
    }
    let error = parse(&[("k8s-x.k8sns/y".to_owned(), "v".to_owned())]);
    assert!(error.is_ok(), "without a colon it is no start of an item");
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn names_are_what_a_second_reading_of_the_rules_says(
        text in prop_oneof![any::<String>(), "[aA0._/ -]{0,8}", "[a-z0-9.-]{1,260}"],
    ) {
        assert_eq!(ObjectName::parse(&text).is_ok(), subdomain(&text));
        assert_eq!(Namespace::parse(&text).is_ok(), dns_label(&text));
        assert_eq!(LabelValue::parse(&text).is_ok(), label_part(&text));
        assert_eq!(LabelKey::parse(&text).is_ok(), label_key(&text), "{text:?}");
        assert_described(&text, ObjectName::parse(&text));
        if let Err(error) = TrustDomain::parse(&text) {
            assert_presentable(&error);
        }
        if let Err(error) = PathGrants::parse([text.as_str()]) {
            assert_presentable(&error.to_string());
        }
    }
}
