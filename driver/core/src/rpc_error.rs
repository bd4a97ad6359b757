//! From typed errors to gRPC: each error names its code, and the message is its whole chain of
//! causes, printed here and in the log, nowhere else.

use std::error::Error;
use std::fmt;

use tonic::{Code, Status};

/// An error of a verb that knows its gRPC code.
pub trait GrpcCode: Error {
    /// The code that tells a CO what to do next (CSI specification, "Error Scheme").
    fn code(&self) -> Code;

    /// The code when the work behind the call panicked. INTERNAL is final to the provisioner, so
    /// verbs whose effect may exist by then answer ABORTED instead.
    #[must_use]
    fn code_after_panic() -> Code
    where
        Self: Sized,
    {
        Code::Internal
    }
}

/// Whether the sidecars take a code for the end: nothing was done, and nothing will be. Source:
/// `checkError` of external-provisioner, `isFinalError` of external-attacher and
/// external-snapshotter.
#[must_use]
pub fn is_final(code: Code) -> bool {
    !matches!(code, Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Aborted)
}

/// The code for a call that cannot tell whether an earlier one had an effect: ABORTED instead of
/// what would be the end.
#[must_use]
pub fn open(code: Code) -> Code {
    if is_final(code) { Code::Aborted } else { code }
}

/// A request field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The field, as the CSI specification or the parameter's documentation names it.
    pub field: String,
    /// The rule it breaks, with the value if it is no secret.
    pub rule: String,
}

impl Invalid {
    /// `field` breaks `rule`.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

impl GrpcCode for Invalid {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }
}

/// A failed call on its way to the wire. It exists because `?` converts once, and the orphan rule
/// keeps `Status` from being converted into by every error.
#[derive(Debug)]
pub struct RpcError(Status);

impl<E: GrpcCode + Send + Sync + 'static> From<E> for RpcError {
    fn from(error: E) -> Self {
        let mut status = Status::new(error.code(), Chain(&error).to_string());
        status.set_source(std::sync::Arc::new(error));
        Self(status)
    }
}

impl From<RpcError> for Status {
    fn from(error: RpcError) -> Self {
        error.0
    }
}

impl RpcError {
    /// The code on the wire.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code()
    }

    /// The message on the wire.
    #[must_use]
    pub fn message(&self) -> &str {
        self.0.message()
    }
}

/// Prints an error and its causes as `a: b: c`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("volume v1 was not created")]
    struct Outer(#[source] Invalid);

    impl GrpcCode for Outer {
        fn code(&self) -> Code {
            Code::Aborted
        }
    }

    #[test]
    fn a_status_carries_the_code_and_the_whole_chain_once() {
        let status = Status::from(RpcError::from(Outer(Invalid::new("iops", "must be a number"))));
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(status.message(), "volume v1 was not created: iops: must be a number");
        assert!(status.details().is_empty(), "the CSI specification demands empty details");
    }
}
