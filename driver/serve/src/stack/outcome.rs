//! How a call ended, told exactly once, also when its future is dropped.
//!
//! tonic drops a call when its client goes away; a layer that only looks at responses would never
//! hear of it.

use http::Response;
use tonic::{Code, Status};

/// The end of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome<'a> {
    /// The handler answered.
    Ok,
    /// The handler, or a layer, answered with an error.
    Failed(&'a Status),
    /// An inner layer failed instead of answering.
    Broken,
    /// The client went away or its deadline passed before there was an answer.
    Abandoned,
}

impl<'a> Outcome<'a> {
    /// tonic leaves the `Status` of a failed unary call in the response's extensions.
    fn of<B>(response: &'a Response<B>) -> Self {
        match response.extensions().get::<Status>() {
            Some(status) if status.code() != Code::Ok => Self::Failed(status),
            Some(_) | None => Self::Ok,
        }
    }

    /// The code that the client sees, or would have seen.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Ok => Code::Ok,
            Self::Failed(status) => status.code(),
            Self::Broken => Code::Unknown,
            Self::Abandoned => Code::Cancelled,
        }
    }
}

/// Runs `call` and tells `ended` how it went.
pub(crate) fn watch<B, E, F>(
    call: impl Future<Output = Result<Response<B>, E>>,
    ended: F,
) -> impl Future<Output = Result<Response<B>, E>>
where
    F: FnOnce(Outcome<'_>),
{
    // Made here and not in the async block, so that it exists even if the block is never polled.
    let mut teller = Teller(Some(ended));
    async move {
        let result = call.await;
        teller.tell(result.as_ref().map_or(Outcome::Broken, Outcome::of));
        result
    }
}

struct Teller<F: FnOnce(Outcome<'_>)>(Option<F>);

impl<F: FnOnce(Outcome<'_>)> Teller<F> {
    fn tell(&mut self, outcome: Outcome<'_>) {
        if let Some(ended) = self.0.take() {
            ended(outcome);
        }
    }
}

impl<F: FnOnce(Outcome<'_>)> Drop for Teller<F> {
    fn drop(&mut self) {
        self.tell(Outcome::Abandoned);
    }
}

/// The label and log text of a code, spelled as the specification spells it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn each_end_is_told_once_with_the_code_that_the_client_sees() {
        let told = Mutex::new(Vec::new());
        let note = |outcome: Outcome<'_>| told.lock().unwrap().push(outcome.code());

        let fine = async { Ok::<_, ()>(Response::new(())) };
        watch(fine, note).await.unwrap();
        let failed = async { Ok::<_, ()>(Status::not_found("gone").into_http::<()>()) };
        watch(failed, note).await.unwrap();
        let broken = async { Err::<Response<()>, _>(()) };
        watch(broken, note).await.unwrap_err();
        drop(watch(std::future::pending::<Result<Response<()>, ()>>(), note));

        let expected = [Code::Ok, Code::NotFound, Code::Unknown, Code::Cancelled];
        assert_eq!(*told.lock().unwrap(), expected);
    }
}
