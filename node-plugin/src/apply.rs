//! Acts: takes the steps of a plan one by one, each with a line in the log.

use tracing::debug;

use crate::kernel::{Kernel, KernelError, Step};

/// A step that failed. Those before it are done; the next call finds them so.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
pub struct StepFailed {
    /// Which.
    pub step: String,
    /// Why.
    pub source: KernelError,
}

/// Takes all steps, or those up to the first that fails.
///
/// # Errors
/// The step that failed.
pub fn apply<K: Kernel>(
    kernel: &K,
    pin: Option<&K::Pin>,
    steps: Vec<Step>,
) -> Result<(), StepFailed> {
    for step in steps {
        debug!(%step, "step");
        if let Err(source) = kernel.apply(pin, &step) {
            return Err(StepFailed { step: step.to_string(), source });
        }
    }
    Ok(())
}
