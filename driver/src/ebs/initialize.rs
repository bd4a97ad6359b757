//! Waiting until a volume is filled with what it was made from.
//!
//! It waits outside of the attachment's claim and ends with the call, so that a pod that is deleted
//! meanwhile gets its volume detached at once.

use std::time::Duration;

use csi_core::ebs::{Ebs, Initialization, InitializationState};
use csi_core::{ApiError, GrpcCode, VolumeId};
use tokio::time::Instant;
use tonic::Code;

use super::Shared;
use super::look::{Cadence, WaitEnd};

/// As long as the attacher waits.
const BOUND: Duration = Duration::from_mins(6);

/// Minutes to hours pass, and all that wait share the looks.
const FILLING: Cadence = Cadence {
    first: Duration::ZERO,
    step: Duration::from_secs(2),
    steady: Duration::from_secs(10),
    part: 5,
};

/// Why a volume is not ready to be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotInitialized {
    /// It is being filled.
    #[error(
        "volume {volume} is attached and still being filled from its source{}; \
         blockAttachUntilInitialized lets the pod wait for it, and the next try goes on waiting",
        how_far(.state)
    )]
    Unfinished {
        /// The volume.
        volume: VolumeId,
        /// How far it is, if EC2 told.
        state: InitializationState,
    },
    /// EC2 refused to tell.
    #[error(
        "volume {volume} is attached, and EC2 does not tell whether it is filled, which \
         blockAttachUntilInitialized asks for"
    )]
    Refused {
        /// The volume.
        volume: VolumeId,
        /// EC2's answer.
        #[source]
        error: ApiError,
    },
}

fn how_far(state: &InitializationState) -> String {
    match state {
        InitializationState::Initializing { progress, left } => {
            let percent = progress.map(|percent| format!(", at {percent} %"));
            let left = left.map(|left| format!(", about {} s left", left.as_secs()));
            percent.into_iter().chain(left).collect()
        }
        InitializationState::Initialized | InitializationState::Unknown => String::new(),
    }
}

impl GrpcCode for NotInitialized {
    /// Never a final code: the volume is attached.
    fn code(&self) -> Code {
        match self {
            Self::Unfinished { .. } => Code::DeadlineExceeded,
            Self::Refused { .. } => Code::Unavailable,
        }
    }
}

/// Waits until the volume is filled.
pub(super) async fn wait<C: Ebs>(
    shared: &Shared<C>,
    volume: &VolumeId,
) -> Result<(), NotInitialized> {
    let mut state = InitializationState::Unknown;
    let judge = |seen: Option<Initialization>| {
        state = seen.map_or(InitializationState::Unknown, |seen| seen.state);
        (state == InitializationState::Initialized).then_some(())
    };
    let until = Instant::now() + BOUND;
    let end = shared.initializations.until(volume, FILLING, until, judge).await;
    end.map_err(|end| match end {
        WaitEnd::TimedOut => NotInitialized::Unfinished { volume: volume.clone(), state },
        WaitEnd::Refused(error) => NotInitialized::Refused { volume: volume.clone(), error },
    })
}
