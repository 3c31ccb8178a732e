//! Wrong calls, bad kubeconfigs, and input that would grow: one clear error with its place where there is one, the right
//! exit code, no panic, and never more than 256 MiB.

use std::fs;
use std::process::Child;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::run::{Answer, Folder, command};

/// A kubeconfig that is fine but for what is changed in it.
fn kubeconfig(change: impl FnOnce(&mut Value)) -> String {
    let mut config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    });
    change(&mut config);
    config.to_string()
}

/// What `kleym status` says with this kubeconfig.
fn with(text: &str, flags: &str) -> Answer {
    let folder = Folder::with(&[("k", text)]);
    folder.kleym(&format!("status --kubeconfig k {flags}"))
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_one_clear_error() {
    let mut all = Vec::new();
    let mut bad = |what: &str, text: &str, flags: &str| {
        let answer = with(text, flags);
        assert_eq!((answer.exit, answer.out.as_str()), (Some(4), ""), "{what}: {answer}");
        assert_eq!(answer.err.matches("error: ").count(), 1, "{what}: {answer}");
        all.push(format!("# {what}\n{answer}"));
    };
    bad("no YAML", "a: [1\nb: 2\n", "");
    bad("a tab", "apiVersion: v1\n\tkind: Config\n", "");
    bad("a key twice", "kind: Config\nkind: Config\n", "");
    bad("a bomb", &format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(1_000), "*a,".repeat(1_000)), "");
    bad("a list", "[]", "");
    bad("empty", "", "");
    bad(
        "no context",
        &kubeconfig(|config| drop(config.as_object_mut().unwrap().remove("current-context"))),
        "",
    );
    bad("another context", &kubeconfig(|_| {}), "--context nowhere");
    bad(
        "no such cluster",
        &kubeconfig(|config| config["contexts"][0]["context"]["cluster"] = "x".into()),
        "",
    );
    bad("no server", &kubeconfig(|config| config["clusters"][0]["cluster"] = json!({})), "");
    bad(
        "a server that is no URL",
        &kubeconfig(|config| config["clusters"][0]["cluster"]["server"] = "not a url".into()),
        "",
    );
    bad(
        "a certificate that is none",
        &kubeconfig(|config| {
            config["clusters"][0]["cluster"] =
                json!({"server": "https://127.0.0.1:1", "certificate-authority-data": "AAAA"});
        }),
        "",
    );
    bad(
        "a certificate that is not there",
        &kubeconfig(|config| {
            config["clusters"][0]["cluster"] =
                json!({"server": "https://127.0.0.1:1", "certificate-authority": "nowhere.crt"});
        }),
        "",
    );
    bad(
        "a namespace that is none",
        &kubeconfig(|config| config["contexts"][0]["context"]["namespace"] = "A B".into()),
        "",
    );
    bad(
        "a plugin that is not there",
        &kubeconfig(|config| {
            config["users"][0]["user"] = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/plugin", "interactiveMode": "Never"}});
        }),
        "",
    );
    bad(
        "a plugin that fails",
        &kubeconfig(|config| {
            config["users"][0]["user"] = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
            "args": ["-c", "echo please log in >&2; exit 1"], "interactiveMode": "Never"}});
        }),
        "",
    );
    let directory = Folder::with(&[("k/x", "")]);
    bad("a timeout that is none", &kubeconfig(|_| {}), "--request-timeout soon");
    all.push(format!("# a folder\n{}", directory.kleym("status --kubeconfig k")));
    all.push(format!("# none\n{}", directory.kleym("status")));
    all.push(format!("# not there\n{}", directory.kleym("status --kubeconfig nowhere")));
    let named = directory.run("status", &[("KUBECONFIG", "nowhere:neither")], b"");
    all.push(format!("# none of several\n{named}"));
    let all = all.join("\n\n").replace(&directory.path().display().to_string(), "FOLDER");
    assert_snapshot!(all);
}

#[test]
fn several_kubeconfigs_are_merged_and_the_first_wins() {
    let first = kubeconfig(|config| config["clusters"] = json!([]));
    let second = kubeconfig(|config| config["current-context"] = "other".into());
    let folder = Folder::with(&[("a", &first), ("b", &second)]);
    let answer = folder.run("status", &[("KUBECONFIG", "a:nowhere:b")], b"");
    assert!(
        answer.err.contains("http://127.0.0.1:1") && answer.err.contains("connection refused"),
        "{answer}"
    );
}

#[test]
fn odd_flags_are_usage_errors_that_name_the_flag() {
    let folder = Folder::with(&[("good.yaml", &crate::manifests::good())]);
    let mut all = Vec::new();
    for flags in [
        "status -f good.yaml -n A_B",
        "status -f good.yaml -n a -A",
        "status -f good.yaml -l a=b=c",
        "status -f good.yaml --watch",
        "status --as-group g",
        "lint -f good.yaml -o nothing",
        "lint -f nowhere.yaml",
        "diff -f good.yaml --from nowhere",
        "diff -f - --from -",
        "status -f good.yaml --request-timeout 5x",
        "diff -f good.yaml --from good.yaml --request-timeout=",
        "inspect",
        "inspect binding/A_B -f good.yaml",
        "completion tcsh",
        "status -f good.yaml --trust-domain spiffe://x",
        "status -f good.yaml --instance {{",
        "status -R",
    ] {
        let answer = folder.kleym(flags);
        assert_eq!((answer.exit, answer.out.as_str()), (Some(4), ""), "{answer}");
        all.push(answer.to_string());
    }
    assert_snapshot!(all.join("\n\n"));
}

/// The most memory that the process ever had, in MiB, as the kernel counts it. Read until it ends.
fn peak(mut child: Child) -> (Option<i32>, u64) {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        let read = fs::read_to_string(&status).unwrap_or_default();
        let line = read.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
        most = most.max(kib / 1024);
        if let Some(exit) = child.try_wait().unwrap() {
            return (exit.code(), most);
        }
        std::thread::yield_now();
    }
}

#[test]
fn nothing_that_stands_in_a_file_takes_more_than_256_mib() {
    const MIB: usize = 1024 * 1024;
    let fill = |text: &str, mib: usize| text.repeat(mib * MIB / text.len());
    // As large as a file may be, or as it takes to meet the other limits.
    let inputs: [(&str, String); 9] = [
        ("numbers.json", format!("[{}1]", fill("1,", 60))),
        ("lists.json", format!("[{}1]", fill("[],", 60))),
        ("objects.json", format!("[{}1]", fill("{\"a\":1},", 60))),
        ("numbers.yaml", fill("- 1\n", 8)),
        ("documents.yaml", fill("--- a\n", 4)),
        ("fields.yaml", (0..900_000).map(|number| format!("k{number}: 1\n")).collect()),
        ("text.yaml", format!("a: \"{}\"\n", fill("x", 60))),
        ("aliases.yaml", format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(10_000), "*a,".repeat(100_000))),
        ("deep.json", fill("[", 60)),
    ];
    for (name, text) in inputs {
        let folder = Folder::new();
        folder.put(name, text.as_bytes());
        let mut child = command(folder.path(), &format!("lint -f {name} -o github"));
        child
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let (exit, mib) = peak(child.spawn().unwrap());
        assert!(matches!(exit, Some(0 | 2)), "{name}: {exit:?}");
        assert!(mib <= 256, "{name}: {mib} MiB");
    }
}
