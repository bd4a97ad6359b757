//! Lets the devices follow the world: effects of one object in their order, others side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use csi_core::Chain;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Devices;
use crate::sim::Sim;
use crate::world::{Content, Effect, EffectId};

/// Ends when its sender is dropped.
type End = watch::Receiver<()>;

/// Follows the world until it is dropped, which leaves running effects to themselves.
pub async fn run(sim: Sim, devices: Arc<Devices>) {
    let mut changes = sim.changes();
    let mut last: HashMap<String, End> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        changes.mark_unchanged();
        let (effects, next) = sim.with(|world, _| (world.take_effects(), world.next_due()));
        for (id, effect) in effects {
            let (end, ended) = watch::channel(());
            let before: Vec<End> = keys(&effect)
                .iter()
                .filter_map(|key| last.insert(key.clone(), ended.clone()))
                .collect();
            let follow = follow(sim.clone(), Arc::clone(&devices), id, effect, before, end);
            tasks.spawn(follow);
        }
        last.retain(|_, end| end.has_changed().is_ok());
        let now = sim.now();
        let pause = next.map(|at| Duration::from_millis(at.saturating_sub(now)));
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(pause.unwrap_or(Duration::from_hours(1))) => {}
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// The objects whose earlier effects come first.
fn keys(effect: &Effect) -> Vec<String> {
    match effect {
        Effect::Create { volume, content, .. } => {
            let source = match content {
                Content::Blank => None,
                Content::Snapshot(id) => Some(id.to_string()),
                Content::Volume(id) => Some(id.to_string()),
            };
            source.into_iter().chain([volume.to_string()]).collect()
        }
        Effect::Attach { volume, .. }
        | Effect::Detach { volume, .. }
        | Effect::Grow { volume, .. }
        | Effect::RemoveVolume(volume) => vec![volume.to_string()],
        Effect::Capture { snapshot, volume } => vec![volume.to_string(), snapshot.to_string()],
        Effect::RemoveSnapshot(snapshot) => vec![snapshot.to_string()],
    }
}

async fn follow(
    sim: Sim,
    devices: Arc<Devices>,
    id: EffectId,
    effect: Effect,
    before: Vec<End>,
    end: watch::Sender<()>,
) {
    for mut earlier in before {
        while earlier.changed().await.is_ok() {}
    }
    let shown = format!("{effect:?}");
    let performed = tokio::task::spawn_blocking(move || devices.perform(&effect)).await;
    let result = match performed {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Chain(&error).to_string()),
        Err(panic) => Err(panic.to_string()),
    };
    match &result {
        Ok(()) => tracing::debug!(effect = shown, "devices followed"),
        Err(reason) => tracing::error!(effect = shown, reason, "devices could not follow"),
    }
    drop(end);
    sim.with(|world, now| world.effect_ended(id, result, now));
    sim.wake();
}
