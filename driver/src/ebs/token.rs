//! Client tokens: what makes `CreateVolume` idempotent at EC2.

use csi_core::VolumeName;
use sha2::{Digest, Sha256};

/// The n-th token of a name, from 1: the SHA-256 of the name, later ones of `name-2`, `name-3`….
/// The driver that this one replaces makes the same ones, so that a call begun by one is finished
/// by the other.
pub(super) fn token(name: &VolumeName, n: u32) -> String {
    let text = if n == 1 { name.to_string() } else { format!("{name}-{n}") };
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_is_the_hash_of_the_name_alone() {
        let name = "pvc-1".parse().unwrap();
        let first = "f2868e1aa7cab669517cd9f5ab1b7957c0b92df38fef583267e34e1acc8253fe";
        let second = "f2ec9aab1b3d2a759597cce92262a901809b35fcd886d1f1eacb5c7e27a02a42";
        assert_eq!([token(&name, 1), token(&name, 2)], [first, second]);
    }
}
