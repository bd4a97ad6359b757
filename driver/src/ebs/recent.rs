//! What this process just deleted. Reads may show it for a while, and a listing or a look-up by
//! name must not take it for alive.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use csi_core::facts::READ_LAG_BOUND;
use tokio::time::Instant;

/// Ids deleted within the last [`READ_LAG_BOUND`].
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<String, Instant>>);

impl Recent {
    /// Remembers a deletion.
    pub(super) fn deleted(&self, id: &str) {
        let now = Instant::now();
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.retain(|_id, since| now - *since < READ_LAG_BOUND);
        ids.insert(id.to_owned(), now);
    }

    /// Whether this was deleted so recently that reads may not show it yet.
    pub(super) fn is_deleted(&self, id: &str) -> bool {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(id).is_some_and(|since| since.elapsed() < READ_LAG_BOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_remembered_as_long_as_reads_may_lag() {
        let recent = Recent::default();
        recent.deleted("vol-1");
        assert!(recent.is_deleted("vol-1") && !recent.is_deleted("vol-2"));
        tokio::time::advance(READ_LAG_BOUND).await;
        assert!(!recent.is_deleted("vol-1"));
        recent.deleted("vol-3");
        assert_eq!(recent.0.lock().unwrap().len(), 1, "old ones are forgotten");
    }
}
