//! Errors of the client in one line for people: what broke at the bottom of the chain, without the layers around it.

use std::error::Error;

use kube::client::AuthError;

use super::Why;
use crate::exit::in_words;

/// The most characters of somebody else's text in a message.
const LONGEST: usize = 300;

/// Why a request brought nothing.
pub(super) fn why(error: &kube::Error) -> Why {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Why::Unauthorized,
            403 => Why::Forbidden,
            404 => Why::NotServed,
            code => Why::Failing(format!("the API server answers {code} ({})", one_line(&status.message))),
        },
        kube::Error::SerdeError(error) => Why::Failing(format!("the answer is no JSON ({error})")),
        other => Why::Failing(innermost(other)),
    }
}

/// The innermost reason of an error. The layers above it say only that something below them failed.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    loop {
        if let Some(error) = deepest.downcast_ref::<AuthError>() {
            return credentials(error);
        }
        match deepest.source() {
            Some(source) => deepest = source,
            None => break,
        }
    }
    let words = match deepest.downcast_ref::<std::io::Error>() {
        Some(error) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        },
        None => deepest.to_string(),
    };
    one_line(&words)
}

/// What went wrong with a credential plugin, without its whole output.
fn credentials(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecStart(error) => {
            format!("the credential plugin of the kubeconfig cannot be started: {}", in_words(error))
        }
        AuthError::AuthExecRun { cmd: _, out } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
            one_line(&format!("the credential plugin of the kubeconfig ended with {}: {said}", out.status))
        }
        other => one_line(&format!("no credentials: {other}")),
    }
}

/// Text of somebody else as it may stand in a message.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = line.chars().filter(|c| !c.is_control()).take(LONGEST);
    plain.collect()
}
