//! What can happen to a node, as data: steps can be printed, taken again and left out.

use std::time::Duration;

use sanity_tests::random::Random;

/// Index of a volume; what each is stands in [`crate::truth`].
pub(crate) type V = usize;
/// Index of a pod.
pub(crate) type Pod = usize;

/// How many volumes and pods there are.
pub(crate) const VOLUMES: usize = 4;
pub(crate) const PODS: usize = 2;

/// A call of kubelet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Stage(V),
    /// Whether read-only.
    Publish(V, Pod, bool),
    Unpublish(V, Pod),
    Unstage(V),
}

/// Who dies during a call, or instead of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The plugin; tools that it began go on.
    Plugin,
    /// The plugin and its tools.
    Container,
    /// The node's power; it comes back as it was.
    Node,
    /// The node; another one gets the disks.
    Other,
}

/// One step. Those that make no sense in a state do nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Ask(Call),
    /// The victim dies so many milliseconds after the call began; the call is then repeated.
    Kill(Victim, u64, Call),
    /// The pod writes a file and syncs it.
    Write(V),
    /// The disk gets longer, and kubelet grows what is on it.
    Grow(V),
    /// Kubelet measures the pod's mount.
    Measure(V, Pod),
    Plug(V),
    /// Torn out from under its mounts if it is a disk that can be, else only when it is not used.
    Unplug(V),
    /// Somebody writes a foreign signature to a disk that holds nothing yet; or zeroes it.
    Spoil(V),
    Clean(V),
    /// The device mapper takes a disk that is not mounted; or lets it go.
    Hold(V),
    Release(V),
    /// The disk fails all reads and writes while it is not mounted; or is well again.
    Break(V),
    Heal(V),
    /// The disk's device node leads to another disk; or to the right one.
    Mislead(V),
    Lead(V),
}

/// The next step, by chance.
pub(crate) fn next(random: &mut Random) -> Step {
    let v = pick(random, VOLUMES);
    match random.below(100) {
        0..60 => Step::Ask(call(random)),
        60..66 => {
            let victim = if random.once_in(2) { Victim::Plugin } else { Victim::Container };
            Step::Kill(victim, random.below(400), call(random))
        }
        66..68 => {
            let victim = if random.once_in(2) { Victim::Node } else { Victim::Other };
            Step::Kill(victim, random.below(400), call(random))
        }
        68..76 => Step::Write(v),
        76..79 => Step::Grow(v),
        79..82 => Step::Measure(v, pick(random, PODS)),
        82..86 => Step::Plug(v),
        86..89 => Step::Unplug(v),
        89..90 => Step::Spoil(v),
        90..92 => Step::Clean(v),
        92..93 => Step::Hold(v),
        93..95 => Step::Release(v),
        95..96 => Step::Break(v),
        96..98 => Step::Heal(v),
        98 => Step::Mislead(v),
        _ => Step::Lead(v),
    }
}

fn call(random: &mut Random) -> Call {
    let (v, pod) = (pick(random, VOLUMES), pick(random, PODS));
    match random.below(10) {
        0..3 => Call::Stage(v),
        3..6 => Call::Publish(v, pod, random.once_in(4)),
        6..8 => Call::Unpublish(v, pod),
        _ => Call::Unstage(v),
    }
}

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(u64::try_from(count).unwrap_or(1))).unwrap_or(0)
}

/// The moment in a form for sleeping.
pub(crate) fn moment(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
