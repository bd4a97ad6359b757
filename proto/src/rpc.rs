//! The calls as values: for metric labels, log fields and tables that must be total.

use std::fmt;

include!(concat!(env!("OUT_DIR"), "/rpc.rs"));

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
