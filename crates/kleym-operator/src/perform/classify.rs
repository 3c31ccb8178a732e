//! Every way a call can fail, classified in one place. No failure proves that an object is gone.

use kleym_core::plan::Failure;

/// What the API server says when an admission webhook, or a ValidatingAdmissionPolicy, denied a request; it says otherwise
/// when nobody has given the permission.
const DENIALS: [&str; 2] = [" denied the request", " denied request: "];

/// What a failed call means.
pub(super) fn failure(error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else { return Failure::Transient };
    match status.code {
        400 if status.message.contains("strict decoding error") => Failure::FieldUnknown,
        // Who asks has the permission then. Webhooks and policies choose their code, and this one is a usual choice.
        403 if DENIALS.iter().any(|words| status.message.contains(words)) => Failure::Rejected,
        // Creating under a definition that is going away is forbidden; that is no lack of rights. Before Kubernetes 1.36 the
        // code is 405.
        403 | 405 if status.message.contains("custom resource definition is terminating") => {
            Failure::Terminating
        }
        // The same in a namespace that is going away.
        403 if status.message.contains("being terminated") => Failure::Transient,
        401 | 403 => Failure::Forbidden,
        404 => Failure::Absent,
        409 => Failure::Stale,
        408 | 410 | 425 | 429 => Failure::Transient,
        400..=499 => Failure::Rejected,
        _ => Failure::Transient,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn of(code: u16, message: &str) -> Failure {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        failure(&kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn every_code_has_one_meaning() {
        for (code, wanted) in [
            (400, Failure::Rejected),
            (401, Failure::Forbidden),
            (403, Failure::Forbidden),
            (404, Failure::Absent),
            (405, Failure::Rejected),
            (409, Failure::Stale),
            (413, Failure::Rejected),
            (422, Failure::Rejected),
            (429, Failure::Transient),
            (500, Failure::Transient),
            (503, Failure::Transient),
            (504, Failure::Transient),
            (0, Failure::Transient),
        ] {
            assert_eq!(of(code, ""), wanted, "{code}");
        }
    }

    #[test]
    fn that_admission_denies_a_request_is_no_lack_of_permissions_whatever_its_code() {
        for message in [
            r#"admission webhook "vclusterspiffeid.kb.io" denied the request: invalid"#,
            r#"admission webhook "x" denied the request: a namespace that is being terminated"#,
            r#"clusterspiffeids.spire.spiffe.io "x" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no"#,
        ] {
            assert_eq!(
                (of(403, message), of(422, message)),
                (Failure::Rejected, Failure::Rejected),
                "{message}"
            );
        }
        let message = r#"clusterspiffeids.spire.spiffe.io "x" is forbidden: User "denied request" cannot update resource "clusterspiffeids""#;
        assert_eq!(of(403, message), Failure::Forbidden);
    }

    #[test]
    fn what_is_being_deleted_takes_nothing_new_and_that_is_no_lack_of_permissions() {
        let definition = "create not allowed while custom resource definition is terminating";
        assert_eq!((of(403, definition), of(405, definition)), (Failure::Terminating, Failure::Terminating));
        let namespace = r#"events.events.k8s.io "x" is forbidden: unable to create new content in namespace llm because it is being terminated"#;
        assert_eq!(of(403, namespace), Failure::Transient);
    }

    #[test]
    fn a_strict_decoding_error_means_that_the_crd_is_too_old() {
        let message = r#"ClusterSPIFFEID in version "v1alpha1" cannot be handled: strict decoding error: unknown field "spec.hint""#;
        assert_eq!(of(400, message), Failure::FieldUnknown);
    }
}
