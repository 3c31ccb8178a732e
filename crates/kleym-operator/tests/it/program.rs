//! The program as an administrator meets it: its start, its probes and its end.

use std::time::{Duration, Instant};

use crate::world::{World, refused_start, unheard};

/// Flags, variables, and how the one line begins.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

#[tokio::test]
async fn a_bad_flag_or_variable_stops_the_start_with_one_line_that_names_it() {
    let cases: &[Case] = &[
        (&["--trust-domain="], &[], "--trust-domain: "),
        (&["--trust-domain=spiffe://example.org"], &[], "--trust-domain: `spiffe://example.org` "),
        (&["--trust-domain=Example.org"], &[], "--trust-domain: `Example.org` "),
        (&["--trust-domain={{ .X }}"], &[], "--trust-domain: "),
        (&[], &[("KLEYM_TRUST_DOMAIN", " ")], "KLEYM_TRUST_DOMAIN: is blank"),
        (&[], &[("KLEYM_TRUST_DOMAIN", "a b")], "KLEYM_TRUST_DOMAIN: `a b` "),
        (&["--instance=a b"], &[], "--instance: `a b` "),
        (&["--watch-namespace=Team"], &[], "--watch-namespace: `Team` "),
        (&[], &[("KLEYM_WATCH_NAMESPACE", "a,,b")], "KLEYM_WATCH_NAMESPACE: "),
        (&["--clusterspiffeid-class-name=-x"], &[], "--clusterspiffeid-class-name: `-x` "),
        (&["--path-grant=team"], &[], "--path-grant: "),
        (&["--path-grant=team=/ns/x"], &[], "--path-grant: "),
        (&["--path-grant=team=/a", "--path-grant=other=/a/b"], &[], "--path-grant: "),
        (&["--health-probe-bind-address=:99999"], &[], "--health-probe-bind-address: `:99999` "),
        (&["--log-format=xml"], &[], "--log-format: `xml` "),
        (&["--log-level=="], &[], "--log-level: "),
        (&[], &[("KLEYM_LOG_FORMAT", "xml")], "KLEYM_LOG_FORMAT: `xml` "),
        (&["--x\r\u{202e}y"], &[], "unexpected argument '--x\\r\\u{202e}y' found; "),
        (&["--trust-domian=example.org"], &[], "unexpected argument '--trust-domian' found; tip: "),
        (&["--leader-elect", "false"], &[], "unrecognized subcommand 'false'; "),
        (&["--instance"], &[], "a value is required for '--instance <NAME>' but none was supplied; see "),
        (
            &["--instance=a", "--instance=b"],
            &[],
            "the argument '--instance <NAME>' cannot be used multiple times; see ",
        ),
    ];
    for (flags, variables, expected) in cases {
        let output = refused_start(flags, variables);
        let (said, printed) = (String::from_utf8(output.stderr).unwrap(), output.stdout);
        assert_eq!((output.status.code(), printed.len()), (Some(2), 0), "{flags:?} {variables:?}: {said}");
        assert!(said.starts_with(&format!("kleym-operator: {expected}")), "{flags:?} {variables:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named() {
    let output = refused_start(&["--kubeconfig=/nowhere/config", "--health-probe-bind-address=0"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nowhere/config"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn of_a_kubeconfig_that_cannot_be_read_nothing_is_shown_but_what_is_wrong_and_where() {
    let path = std::env::temp_dir().join(format!("kleym-kubeconfig-{}", std::process::id()));
    std::fs::write(&path, "token:s3cret\nuser:x\n").unwrap();
    let flag = format!("--kubeconfig={}", path.display());
    let output = refused_start(&[&flag, "--health-probe-bind-address=0"], &[]);
    std::fs::remove_file(&path).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("line 1 column 1") && !said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn that_nobody_reads_what_it_says_changes_nothing_of_how_it_ends() {
    for (flags, code) in [
        (&["--trust-domain="] as &[&str], 2),
        (&["--kubeconfig=/nowhere/config", "--health-probe-bind-address=0"], 1),
        (&["--kubeconfig=/nowhere/config", "uninstall-check"], 1),
        (&["--help"], 0),
    ] {
        assert_eq!(unheard(flags).code(), Some(code), "{flags:?}");
    }
}

#[tokio::test]
async fn probes_are_answered_and_the_program_ends_promptly_and_well_when_it_is_told_to() {
    let world = World::new("program").await;
    for signal in ["TERM", "INT"] {
        let operator = world.operator().await;
        assert_eq!(operator.probe("/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(operator.probe("/readyz").await, (200, "ok\n".to_owned()));
        assert_eq!(operator.probe("/elsewhere").await.0, 404);
        let told = Instant::now();
        operator.signal(signal);
        assert_eq!(operator.end().await.code(), Some(0));
        // Nothing was under way, so nothing had to be waited for.
        assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    }
}

#[tokio::test]
async fn a_taken_address_stops_the_start_and_zero_turns_the_listener_off() {
    let world = World::new("address").await;
    let operator = world.operator().await;
    let taken = operator.health_address().await.to_string();
    let other = world.start_operator(&["--health-probe-bind-address", &taken]).await;
    assert_eq!(other.end().await.code(), Some(1));
    let said = other.said(&taken);
    assert!(said.iter().any(|line| line.contains("cannot listen on")), "{}", other.log());

    let silent = world.start_operator(&["--health-probe-bind-address=0"]).await;
    silent.says("serving").await;
    assert_eq!(silent.said("health probes"), Vec::<String>::new());
    silent.terminate().await;
}
