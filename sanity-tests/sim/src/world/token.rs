//! Client tokens. EC2 compares every parameter with the token's first use, tags as a set.

use std::collections::HashMap;

use csi_core::VolumeId;

use super::error::AwsError;
use super::settings::SpentToken;
use super::volume::VolumeRecord;
use super::{Millis, World};

/// What a token was first used for.
#[derive(Debug, Clone)]
pub(crate) struct Token<P> {
    parameters: P,
    volume: VolumeId,
    used: Millis,
}

/// The tokens of one action. EC2's tokens are unique per action.
pub(crate) type Tokens<P> = HashMap<String, Token<P>>;

/// Whether a token may be used for these parameters: its volume if it was used for the same,
/// nothing if it is new.
pub(crate) fn first_use<P: PartialEq>(
    tokens: &Tokens<P>,
    token: Option<&str>,
    parameters: &P,
    now: Millis,
    life: Millis,
) -> Result<Option<VolumeId>, AwsError> {
    let Some(text) = token else { return Ok(None) };
    if text.len() > 64 || text.is_empty() {
        return Err(AwsError::value(format!(
            "Value ({text}) for parameter clientToken is invalid. Expected 1 to 64 characters."
        )));
    }
    match tokens.get(text) {
        Some(known) if now.saturating_sub(known.used) < life => {
            if known.parameters == *parameters {
                Ok(Some(known.volume.clone()))
            } else {
                Err(mismatch(text))
            }
        }
        _ => Ok(None),
    }
}

pub(crate) fn remember<P>(
    tokens: &mut Tokens<P>,
    token: Option<&str>,
    parameters: P,
    volume: VolumeId,
    used: Millis,
) {
    if let Some(token) = token {
        tokens.insert(token.to_owned(), Token { parameters, volume, used });
    }
}

impl World {
    /// The answer to a repeated call: the volume as it is now.
    pub(crate) fn replay(&self, token: &str, id: &VolumeId) -> Result<VolumeRecord, AwsError> {
        if let Some(entry) = self.volumes.get(id) {
            return Ok(entry.record.truth().clone());
        }
        match self.settings.spent_token {
            SpentToken::Mismatch => Err(mismatch(token)),
            SpentToken::Replay => self.gone.get(id).cloned().ok_or_else(|| mismatch(token)),
        }
    }
}

fn mismatch(token: &str) -> AwsError {
    AwsError::new(
        "IdempotentParameterMismatch",
        format!(
            "The client token '{token}' you have provided is associated with a resource whose \
             parameters differ from those of this request."
        ),
    )
}
