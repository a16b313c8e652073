//! What an API server may answer, in words that say what to do.

use std::error::Error;

use kube::client::AuthError;
use kube::core::Status;

/// Why a request to the API server failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {verb} {resource}: {refusal}")]
pub struct ApiError {
    /// The verb, as in RBAC.
    pub verb: &'static str,
    /// The resource, as in RBAC.
    pub resource: String,
    /// What happened.
    pub refusal: Refusal,
}

/// How a request to the API server failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The server refused the content, with the reasons that it gave.
    #[error("{}", .0.message)]
    Answer(Box<Status>),
    /// The server did not answer in time.
    #[error("{server} did not answer within {seconds} s")]
    Late {
        /// The server's address.
        server: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The account lacks a permission.
    #[error("{message}; a Role must allow it: resource {resource:?}, verb {verb:?}")]
    Permission {
        /// What the server said.
        message: String,
        /// What to allow the verb on.
        resource: String,
        /// What to allow.
        verb: &'static str,
    },
    /// The server cannot be reached, or what it said is not understood.
    #[error("{server}: {reason}")]
    Unreachable {
        /// The server's address.
        server: String,
        /// What is in the way.
        reason: String,
    },
}

impl ApiError {
    pub(super) fn new(
        verb: &'static str,
        resource: &str,
        server: &str,
        error: kube::Error,
    ) -> Self {
        let refusal = match error {
            kube::Error::Api(status) if status.code == 403 => {
                Refusal::Permission { message: status.message, resource: resource.to_owned(), verb }
            }
            kube::Error::Api(status) => Refusal::Answer(status),
            other => Refusal::Unreachable { server: server.to_owned(), reason: innermost(&other) },
        };
        Self { verb, resource: resource.to_owned(), refusal }
    }

    /// The HTTP status that the server answered with, if it did with an error.
    pub fn code(&self) -> Option<u16> {
        match &self.refusal {
            Refusal::Answer(status) => Some(status.code),
            Refusal::Permission { .. } => Some(403),
            Refusal::Late { .. } | Refusal::Unreachable { .. } => None,
        }
    }

    /// Whether the server no longer has what a watch is to start from.
    pub(super) fn is_gone(&self) -> bool {
        self.code() == Some(410)
    }
}

/// The error that is not due to another one: the others only say that something went wrong. Of a
/// command that a kubeconfig names, only how it ended: its arguments and its output may be secrets.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    match error.downcast_ref() {
        Some(AuthError::AuthExecRun { out, .. }) => {
            format!("the command of the kubeconfig for credentials failed: {}", out.status)
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::*;

    #[test]
    fn a_command_for_credentials_is_not_quoted() {
        let (stdout, stderr) = (b"secret".to_vec(), b"secret".to_vec());
        let out = Box::new(Output { status: ExitStatus::from_raw(256), stdout, stderr });
        let failed = AuthError::AuthExecRun { cmd: "login --password secret".to_owned(), out };
        let text = innermost(&kube::Error::Auth(failed));
        assert!(text.contains("exit status: 1") && !text.contains("secret"), "{text}");
    }
}
