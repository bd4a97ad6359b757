//! What the demo and the tests share: the real binaries against a simulated AWS, with a node in a
//! guest machine, and the calls that Kubernetes would make.

pub mod bare;
pub mod bench;
pub mod calls;
pub mod chart;
pub mod mkfs_log;
pub mod pod;
pub mod random;
pub mod sanity;
pub mod stand;
pub mod storage_class;
