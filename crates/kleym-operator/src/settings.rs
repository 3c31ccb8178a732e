//! Flags and their environment fall-backs: what was typed ([`Flags`]) and what it means ([`Configuration`]). Every
//! value is checked here, before anything is started; a bad one is answered with one line that names it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use kleym_core::name::Namespace;
use kleym_core::settings::given::{self, BadSetting, Environment, Given};
use kleym_core::settings::{Settings, TypedSettings};

use crate::metrics::Certificate;

/// The Kleym operator: turns InferenceIdentityBindings into ClusterSPIFFEIDs.
///
/// Every flag can be given as an environment variable `KLEYM_<FLAG>`, in upper case and with `_` for `-`. A flag wins
/// over its variable, even an empty one; an empty variable counts as not set. Repeatable flags are comma-separated
/// there.
#[derive(Parser, Debug, Default)]
#[command(name = "kleym-operator", version)]
pub struct Flags {
    /// What to do instead of running; the flags before it count.
    #[command(subcommand)]
    pub errand: Option<Errand>,

    /// Trust domain of every SPIFFE ID [default: kleym.sonda.red]
    #[arg(long, value_name = "NAME")]
    pub trust_domain: Option<String>,

    /// Class that spire-controller-manager watches; none by default
    #[arg(long = "clusterspiffeid-class-name", value_name = "NAME")]
    pub class_name: Option<String>,

    /// Grants a namespace the SPIFFE ID paths below a prefix; repeatable
    #[arg(long = "path-grant", value_name = "NAMESPACE=PREFIX")]
    pub path_grants: Vec<String>,

    /// Name of this operator, part of every output's name [default: default]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,

    /// Namespace whose bindings are served; repeatable; all by default
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    pub watch_namespaces: Vec<String>,

    /// Start although the configuration fits none of the outputs that SPIRE has made entries for: a new trust domain,
    /// class, set of path grants or instance
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_configuration_change: Option<String>,

    /// Whether replicas elect a leader by a Lease; only the leader writes
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub leader_elect: Option<String>,

    /// Address of /metrics, such as `:8080`; 0, the default, turns it off
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_bind_address: Option<String>,

    /// Whether metrics are served by TLS, to readers that may `get` the path /metrics
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub metrics_secure: Option<String>,

    /// Folder of the metrics certificate; self-signed by default
    #[arg(long, value_name = "PATH")]
    pub metrics_cert_path: Option<String>,

    /// Name of the certificate in that folder [default: tls.crt]
    #[arg(long, value_name = "NAME")]
    pub metrics_cert_name: Option<String>,

    /// Name of its key in that folder [default: tls.key]
    #[arg(long, value_name = "NAME")]
    pub metrics_cert_key: Option<String>,

    /// Address of /healthz and /readyz; 0 turns it off [default: :8081]
    #[arg(long, value_name = "ADDRESS")]
    pub health_probe_bind_address: Option<String>,

    /// Kubeconfig to use; in a cluster the service account is used, elsewhere the KUBECONFIG variable
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<String>,

    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// What is logged: error, warn, info, debug or trace, or a filter such as `info,kleym_operator=debug`
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// What the program can do instead of running.
#[derive(Subcommand, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Tell whether the operator can be uninstalled: fails, and says what to do, while anything is left that only it cleans up
    UninstallCheck,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What the operator was told, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// What every decision depends on.
    pub settings: Settings,
    /// The namespaces that are served; empty means all.
    pub namespaces: BTreeSet<Namespace>,
    /// Whether to start although the configuration fits no issued output.
    pub allow_configuration_change: bool,
    /// Whether replicas elect a leader.
    pub leader_elect: bool,
    /// Where /metrics listens.
    pub metrics_address: Option<SocketAddr>,
    /// The certificate that protects the metrics; none serves them plain.
    pub metrics_certificate: Option<Certificate>,
    /// Where /healthz and /readyz listen.
    pub health_address: Option<SocketAddr>,
    /// The kubeconfig that was named.
    pub kubeconfig: Option<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
}

impl Flags {
    /// What the flags and the environment mean together.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn resolve(&self, environment: Environment<'_>) -> Result<Configuration, BadSetting> {
        let one = |flag: &str, typed: &Option<String>| given::one(flag, typed.as_ref(), environment);
        let or_default = |flag: &str, typed: &Option<String>, default: &str| {
            given::or_default(flag, typed.as_ref(), default, environment)
        };
        let settings = Settings::given(
            TypedSettings {
                trust_domain: self.trust_domain.as_ref(),
                class_name: self.class_name.as_ref(),
                instance: self.instance.as_ref(),
                path_grants: &self.path_grants,
            },
            environment,
        )?;
        let namespaces = given::several("watch-namespace", &self.watch_namespaces, environment)?
            .iter()
            .map(|namespace| {
                let bad = |error| namespace.bad(format!("{error}{}", namespace.list_hint()));
                Namespace::parse(&namespace.value).map_err(bad)
            })
            .collect::<Result<_, _>>()?;

        let log_format = or_default("log-format", &self.log_format, "text")?;
        let log_level = or_default("log-level", &self.log_level, "info")?;
        // The filter's own parser takes a word that is no level for the name of a module, and then logs nothing at all.
        let word = !log_level.value.contains(['=', ',']);
        let level = log_level.value.parse::<tracing::Level>().is_ok();
        if (word && !level) || tracing_subscriber::EnvFilter::try_new(&log_level.value).is_err() {
            return Err(log_level.bad("is no log level; use error, warn, info, debug or trace"));
        }
        Ok(Configuration {
            settings,
            namespaces,
            allow_configuration_change: truth(&or_default(
                "allow-configuration-change",
                &self.allow_configuration_change,
                "false",
            )?)?,
            leader_elect: truth(&or_default("leader-elect", &self.leader_elect, "false")?)?,
            metrics_address: address(&or_default("metrics-bind-address", &self.metrics_bind_address, "0")?)?,
            metrics_certificate: self.certificate(environment)?,
            health_address: address(&or_default(
                "health-probe-bind-address",
                &self.health_probe_bind_address,
                ":8081",
            )?)?,
            kubeconfig: one("kubeconfig", &self.kubeconfig)?
                .map(
                    |path| {
                        if path.value.is_empty() {
                            Err(path.bad("is no path"))
                        } else {
                            Ok(path.value.into())
                        }
                    },
                )
                .transpose()?,
            log_format: match log_format.value.as_str() {
                "text" => LogFormat::Text,
                "json" => LogFormat::Json,
                _ => return Err(log_format.bad("is no log format; use text or json")),
            },
            log_filter: log_level.value,
        })
    }
}

impl Flags {
    fn certificate(&self, environment: Environment<'_>) -> Result<Option<Certificate>, BadSetting> {
        let or_default = |flag: &str, typed: &Option<String>, default: &str| {
            given::or_default(flag, typed.as_ref(), default, environment)
        };
        let secure = truth(&or_default("metrics-secure", &self.metrics_secure, "false")?)?;
        let folder = given::one("metrics-cert-path", self.metrics_cert_path.as_ref(), environment)?;
        let certificate = or_default("metrics-cert-name", &self.metrics_cert_name, "tls.crt")?;
        let key = or_default("metrics-cert-key", &self.metrics_cert_key, "tls.key")?;
        Ok(match (secure, folder.filter(|folder| !folder.value.is_empty())) {
            (false, _) => None,
            (true, None) => Some(Certificate::SelfSigned),
            (true, Some(folder)) => {
                let folder = PathBuf::from(folder.value);
                Some(Certificate::Files {
                    certificate: folder.join(certificate.value),
                    key: folder.join(key.value),
                })
            }
        })
    }
}

fn truth(given: &Given) -> Result<bool, BadSetting> {
    match given.value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(given.bad("is neither true nor false")),
    }
}

/// `host:port`, `:port` for every address of the machine, `0` for no listener.
fn address(given: &Given) -> Result<Option<SocketAddr>, BadSetting> {
    if given.value == "0" {
        return Ok(None);
    }
    let text = match given.value.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => given.value.clone(),
    };
    let problem =
        "is no address; use `:8081`, `127.0.0.1:8081` or `[::1]:8081`, or `0` to turn the listener off";
    text.parse().map(Some).map_err(|_| given.bad(problem))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn resolve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Configuration, BadSetting> {
        let flags = Flags::try_parse_from(["kleym-operator"].iter().chain(arguments)).unwrap();
        let find = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        flags.resolve(&find)
    }

    #[test]
    fn without_flags_the_defaults_of_the_contract_apply() {
        let configuration = resolve(&[], &[]).unwrap();
        assert_eq!(configuration.settings.trust_domain.as_str(), "kleym.sonda.red");
        assert_eq!(configuration.settings.instance.as_str(), "default");
        assert_eq!(configuration.settings.class_name, None);
        assert_eq!(configuration.health_address, Some("[::]:8081".parse().unwrap()));
        assert_eq!(configuration.log_format, LogFormat::Text);
    }

    #[test]
    fn a_flag_wins_over_its_variable_even_when_it_is_empty() {
        let class = |arguments: &[&str]| {
            resolve(arguments, &[("KLEYM_CLUSTERSPIFFEID_CLASS_NAME", "from-env")])
                .unwrap()
                .settings
                .class_name
        };
        assert_eq!(class(&[]).unwrap().as_str(), "from-env");
        assert_eq!(class(&["--clusterspiffeid-class-name=flag"]).unwrap().as_str(), "flag");
        assert_eq!(class(&["--clusterspiffeid-class-name="]), None);
    }

    #[test]
    fn an_empty_variable_is_unset_and_a_blank_one_is_an_error() {
        assert_eq!(resolve(&[], &[("KLEYM_TRUST_DOMAIN", "")]), resolve(&[], &[]));
        let error = resolve(&[], &[("KLEYM_TRUST_DOMAIN", " \t")]).unwrap_err();
        assert_eq!(error.to_string(), "KLEYM_TRUST_DOMAIN: is blank; give it a value or unset it");
    }

    #[test]
    fn a_switch_is_on_when_it_is_named_and_can_be_said_either_way() {
        let allowed = |arguments: &[&str], variables: &[(&str, &str)]| {
            resolve(arguments, variables).unwrap().allow_configuration_change
        };
        assert!(!allowed(&[], &[]) && allowed(&["--allow-configuration-change"], &[]));
        assert!(allowed(&[], &[("KLEYM_ALLOW_CONFIGURATION_CHANGE", "true")]));
        let variables = [("KLEYM_ALLOW_CONFIGURATION_CHANGE", "true")];
        assert!(!allowed(&["--allow-configuration-change=false"], &variables));
    }

    #[test]
    fn repeatable_flags_are_comma_separated_in_the_environment() {
        let configuration =
            resolve(&[], &[("KLEYM_WATCH_NAMESPACE", "a, b"), ("KLEYM_PATH_GRANT", "a=/x,b=/y")]).unwrap();
        assert_eq!(configuration.namespaces.len(), 2);
        assert_eq!(configuration.settings.path_grants.iter().count(), 2);
    }

    #[test]
    fn a_list_in_a_repeatable_flag_is_told_to_be_several_flags() {
        for list in ["--watch-namespace=a,b", "--path-grant=a=/x,b=/y", "--path-grant=a=/x,"] {
            let error = resolve(&[list], &[]).unwrap_err().to_string();
            assert!(error.contains("; repeat the flag for each, only its variable takes a list"), "{error}");
        }
        for other in ["--watch-namespace=A", "--path-grant=a", "--trust-domain=a,b"] {
            let error = resolve(&[other], &[]).unwrap_err().to_string();
            assert!(!error.contains("repeat the flag"), "{error}");
        }
        let error = resolve(&[], &[("KLEYM_WATCH_NAMESPACE", "a,B")]).unwrap_err().to_string();
        assert!(!error.contains("repeat the flag"), "{error}");
    }

    #[test]
    fn a_bad_value_is_named_in_one_line() {
        for (arguments, start) in [
            (vec!["--trust-domain="], "--trust-domain: ``"),
            (vec!["--trust-domain=spiffe://x"], "--trust-domain: `spiffe://x` is a URI"),
            (vec!["--trust-domain={{"], "--trust-domain: "),
            (vec!["--instance=a b"], "--instance: "),
            (vec!["--clusterspiffeid-class-name=-x"], "--clusterspiffeid-class-name: "),
            (vec!["--watch-namespace="], "--watch-namespace: "),
            (vec!["--watch-namespace=A"], "--watch-namespace: "),
            (vec!["--path-grant=a"], "--path-grant: "),
            (vec!["--path-grant=a=/x", "--path-grant=b=/x/y"], "--path-grant: "),
            (vec!["--health-probe-bind-address=:x"], "--health-probe-bind-address: "),
            (vec!["--health-probe-bind-address=:99999"], "--health-probe-bind-address: "),
            (vec!["--log-format=xml"], "--log-format: "),
            (vec!["--log-level=="], "--log-level: "),
            (vec!["--log-level=warning"], "--log-level: `warning` is no log level"),
            (vec!["--log-level="], "--log-level: "),
            (vec!["--kubeconfig="], "--kubeconfig: "),
            (vec!["--allow-configuration-change=maybe"], "--allow-configuration-change: "),
        ] {
            let error = resolve(&arguments, &[]).unwrap_err().to_string();
            assert!(error.starts_with(start) && !error.contains('\n'), "{arguments:?}: {error}");
        }
        assert_eq!(resolve(&["--health-probe-bind-address=0"], &[]).unwrap().health_address, None);
    }
}
