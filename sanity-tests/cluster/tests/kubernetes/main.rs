//! The charts on a real Kubernetes, with the StorageClasses as users write them and the roles of the
//! service accounts. All tests share one cluster; each leaves nothing on it.

mod claims;
mod shared;
