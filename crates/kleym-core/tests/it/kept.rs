//! Live outputs are kept small, and nothing of them is lost.

use std::collections::BTreeSet;

use kleym_core::name::ClassName;
use kleym_core::output::{
    ANNOTATION_BINDING_UID, KeptOutput, LABEL_INSTANCE, LiveOutput, OutputStats, Outputs,
};

use crate::announce::{identity, live, uid};
use crate::world::settings;

/// The output of the binding `chat` as it is written.
fn written() -> LiveOutput {
    live(&identity("vllm"), "o-1")
}

type Edit = (&'static str, fn(&mut LiveOutput));

/// Every way in which an output can differ from how it is written.
fn edits() -> Vec<Edit> {
    vec![
        ("another creation time", |live| live.created = None),
        ("being deleted", |live| live.deleting = true),
        ("a finalizer", |live| live.finalizers = ["example.org/keep".into()].into()),
        ("an owner", |live| live.owned = true),
        ("a foreign label", |live| drop(live.labels.insert("team".into(), "a".into()))),
        ("a label less", |live| drop(live.labels.pop_first())),
        ("another instance", |live| drop(live.labels.insert(LABEL_INSTANCE.into(), "other".into()))),
        ("a foreign annotation", |live| drop(live.annotations.insert("note".into(), "b".into()))),
        ("an annotation less", |live| drop(live.annotations.pop_first())),
        ("the uid of another binding", |live| {
            live.annotations.insert(ANNOTATION_BINDING_UID.into(), "chat-2".into());
        }),
        ("another SPIFFE ID", |live| live.spec.spiffe_id = "spiffe://example.org/ns/llm/x".into()),
        ("no SPIFFE ID", |live| live.spec.spiffe_id = "{{ .PodMeta.Name }}".into()),
        ("no namespace selector", |live| live.spec.namespace_selector = None),
        ("nothing selected", |live| live.spec = live.neutralised().spec),
        ("no pod selector", |live| live.spec.pod_selector = None),
        ("expressions", |live| live.spec.pod_selector.as_mut().unwrap().others = true),
        ("selectors in another order", |live| live.spec.selectors.reverse()),
        ("a selector twice", |live| {
            live.spec.selectors = [&*live.spec.selectors, &live.spec.selectors[..1]].concat().into();
        }),
        ("a selector less", |live| live.spec.selectors = live.spec.selectors[1..].into()),
        ("what is no selector", |live| live.spec.selectors[0] = "k8s".into()),
        ("a class", |live| live.spec.class_name = Some("spire".into())),
        ("a fallback", |live| live.spec.fallback = Some(true)),
        ("a fallback that is not told", |live| live.spec.fallback = None),
        ("another hint", |live| live.spec.hint = None),
        ("a field that Kleym never writes", |live| live.spec.unwanted = ["admin".into()].into()),
    ]
}

#[test]
fn what_is_kept_of_an_output_is_all_of_it() {
    let settings = settings();
    let mut live = written();
    live.stats = Some(OutputStats { pods_selected: 3, entries_to_set: 2, ..OutputStats::default() });
    let whole = |live: &LiveOutput| KeptOutput::of(&settings, live.clone()).live(&settings);
    assert_eq!(*whole(&live), live);
    for (what, edit) in edits() {
        let mut edited = live.clone();
        edit(&mut edited);
        assert_ne!(edited, live, "{what}");
        assert_eq!(*whole(&edited), edited, "{what}");
    }
}

#[test]
fn what_stands_as_it_is_written_is_kept_by_its_grant_alone() {
    let mut settings = settings();
    let mut live = written();
    assert!(KeptOutput::of(&settings, live.clone()).grant_mut().is_some());
    settings.class_name = Some(ClassName::parse("spire").unwrap());
    assert!(KeptOutput::of(&settings, live.clone()).grant_mut().is_none(), "it lacks the class");
    live.spec.class_name = Some("spire".into());
    live.labels.insert(kleym_core::output::LABEL_CLASS_NAME.into(), "spire".into());
    assert!(KeptOutput::of(&settings, live).grant_mut().is_some());
}

#[test]
fn only_what_is_not_newer_and_what_differs_in_counts_alone_is_no_change() {
    let settings = settings();
    let versions =
        |live: &LiveOutput, version: &str| LiveOutput { resource_version: version.into(), ..live.clone() };
    let written = written();
    let mut states = vec![("as written", written.clone())];
    for (what, edit) in edits() {
        let mut edited = written.clone();
        edit(&mut edited);
        states.push((what, edited));
    }
    states.push(("another output of the name", LiveOutput { uid: uid("o-2"), ..written }));
    for (before, first) in &states {
        for (after, second) in &states {
            let mut outputs = Outputs::new(settings.clone());
            let mut put = |live: LiveOutput| outputs.put(KeptOutput::of(&settings, live));
            assert!(put(versions(first, "7")), "{before}");
            let counted = LiveOutput { stats: Some(OutputStats::default()), ..versions(second, "8") };
            assert_eq!(put(counted.clone()), before != after, "{before}, then {after}");
            assert!(!put(versions(second, "6")), "an event that comes late: {before}, then {after}");
            assert_eq!(outputs.get(&first.name).as_deref(), Some(&counted), "{before}, then {after}");
        }
    }
}

#[test]
fn what_is_kept_once_is_told_as_before() {
    let settings = settings();
    let live = written();
    let (binding, binding_uid) = live.proven_binding(&settings).unwrap();
    for (name, uid) in [(&live.name, &binding_uid), (&live.name, &uid("chat-2"))] {
        let mut outputs = Outputs::new(settings.clone());
        outputs.put(KeptOutput::of(&settings, live.clone()));
        assert_eq!(outputs.share(name.clone(), &binding, uid), live.name);
        assert_eq!(outputs.get(&live.name).as_deref(), Some(&live));
        assert_eq!(outputs.names_but(&BTreeSet::new()), std::slice::from_ref(&live.name));
        assert!(outputs.names_but(&BTreeSet::from([live.name.clone()])).is_empty());
    }
}
