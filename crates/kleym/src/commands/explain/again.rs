//! Commands that an answer suggests: with the flags that the person who asked has given, so that they ask the same files or
//! the same cluster.

use kleym_core::explain::Explanation;
use kleym_core::report::Finding;

use crate::args;

/// How commands are to be typed again.
#[derive(Debug)]
pub(super) struct Again {
    live: bool,
    /// For `kubectl`, and `kleym` commands that ask a cluster.
    connection: String,
    /// For `kleym explain`: everything but what is explained.
    everything: String,
}

/// A word as a POSIX shell takes it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

struct Flags(String);

impl Flags {
    fn add(&mut self, flag: &str, value: impl AsRef<str>) {
        self.0.push_str(&format!(" {flag} {}", word(value.as_ref())));
    }

    fn add_all<T: AsRef<str>>(&mut self, flag: &str, values: impl IntoIterator<Item = T>) {
        values.into_iter().for_each(|value| self.add(flag, value));
    }
}

impl Again {
    /// From what was typed.
    pub(super) fn of(input: &args::Input, manager: &args::Manager, settings: &args::Settings) -> Self {
        let args::Input { filename, recursive, scope: _, connection } = input;
        let args::Connection { kubeconfig, context, impersonate, impersonate_groups, request_timeout: _ } =
            connection;
        let args::Manager { scm_namespace, scm_class_name, scm_watch_classless, scm_ignore_namespaces } =
            manager;
        let args::Settings { trust_domain, class_name, path_grants, instance } = settings;
        let mut flags = Flags(String::new());
        if filename.is_empty() {
            flags.add_all("--kubeconfig", kubeconfig.iter().map(|path| path.display().to_string()));
            flags.add_all("--context", context);
            flags.add_all("--as", impersonate);
            flags.add_all("--as-group", impersonate_groups);
        }
        let connection = flags.0.clone();
        flags.add_all("-f", filename.iter().map(|path| path.display().to_string()));
        if *recursive {
            flags.0.push_str(" -R");
        }
        flags.add_all("--trust-domain", trust_domain);
        flags.add_all("--clusterspiffeid-class-name", class_name);
        flags.add_all("--path-grant", path_grants);
        flags.add_all("--instance", instance);
        flags.add_all("--scm-namespace", scm_namespace);
        flags.add_all("--scm-class-name", scm_class_name);
        flags.add_all("--scm-watch-classless", scm_watch_classless.map(|classless| classless.to_string()));
        flags.add_all("--scm-ignore-namespaces", scm_ignore_namespaces.as_ref().map(|all| all.join(",")));
        Self { live: filename.is_empty(), connection, everything: flags.0 }
    }

    /// The command that explains something.
    pub(super) fn explain(&self, what: &str) -> String {
        format!("`kleym explain {what}{}`", self.everything)
    }

    /// Every command in an answer is one that can be typed.
    pub(super) fn fit(&self, explanation: &mut Explanation) {
        let Explanation { chains, given: _, left, claims, findings, socket_untold: _ } = explanation;
        let of_links = chains.iter_mut().flat_map(|chain| &mut chain.links);
        let of_links = of_links.filter_map(|link| link.finding.as_mut());
        let of_left = left.iter_mut().map(|left| &mut left.why);
        let of_claims = claims.iter_mut().map(|claim| &mut claim.why);
        let all = of_links.chain(of_left).chain(of_claims).chain(findings.iter_mut());
        all.for_each(|finding: &mut Finding| {
            finding.hint = finding.hint.take().map(|hint| self.followed(&hint));
        });
    }

    /// The same text, in which commands carry the flags. What is a command stands in backticks.
    fn followed(&self, hint: &str) -> String {
        let mut text = String::new();
        for (place, part) in hint.split('`').enumerate() {
            if place > 0 {
                text.push('`');
            }
            text.push_str(part);
            let command = place % 2 == 1 && (part.starts_with("kubectl ") || part.starts_with("kleym check"));
            if command && self.live {
                text.push_str(&self.connection);
            }
        }
        // Files are no cluster that could be checked.
        if self.live { text } else { text.replace("(`kleym check`)", "(`kleym check`, against the cluster)") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(input: &args::Input) -> Again {
        Again::of(input, &args::Manager::default(), &args::Settings::default())
    }

    #[test]
    fn a_command_asks_the_cluster_that_was_asked() {
        let connection = args::Connection {
            kubeconfig: Some("my config".into()),
            context: Some("prod".to_owned()),
            ..args::Connection::default()
        };
        let again = again(&args::Input { connection, ..args::Input::default() });
        assert_eq!(
            again.followed("see `kubectl get nodes` and `spec.x` (`kleym check`)"),
            "see `kubectl get nodes --kubeconfig 'my config' --context prod` and `spec.x` (`kleym check --kubeconfig 'my config' --context prod`)"
        );
        assert_eq!(
            again.explain("pod/a -n b"),
            "`kleym explain pod/a -n b --kubeconfig 'my config' --context prod`"
        );
    }

    #[test]
    fn a_command_reads_the_files_that_were_read() {
        let filename = vec!["dump/".into(), "it's.yaml".into()];
        let again = again(&args::Input { filename, recursive: true, ..args::Input::default() });
        assert_eq!(again.explain("pod/a"), r"`kleym explain pod/a -f dump/ -f 'it'\''s.yaml' -R`");
        assert_eq!(
            again.followed("see that it runs (`kleym check`)"),
            "see that it runs (`kleym check`, against the cluster)"
        );
    }
}
