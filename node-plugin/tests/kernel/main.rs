//! The Node service on a real kernel: loop devices shown as EBS volumes in a sysfs-shaped folder,
//! in a mount namespace of their own.

#[cfg(test)]
mod bed;
#[cfg(test)]
mod life;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod unfinished;
