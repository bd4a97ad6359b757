//! The end of a run: nothing goes wrong any more, every unfinished call is repeated to its end,
//! everything is deleted, and then nothing may be left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::ask::Request;
use crate::run::{Run, ask, lock};
use crate::trouble;
use crate::truth::Truth;

/// A CO's patience with a driver whose EC2 works.
const TRIES: u32 = 40;

impl Run {
    pub(crate) async fn come_to_rest(&mut self) {
        self.all_answered().await;
        self.count_what_struck();
        trouble::end(&self.sim);
        self.idle().await;
        for step in [Self::repeat_all, Self::unpublish_all, Self::delete_all] {
            for _ in 0..TRIES {
                if lock(&self.book).is_violated() {
                    return;
                }
                let requests = step(self);
                if requests.is_empty() {
                    break;
                }
                for request in requests {
                    self.repeat(request).await;
                }
                self.idle().await;
            }
            let left = step(self);
            if !left.is_empty() {
                let why = format!("after {TRIES} tries without faults still unfinished: {left:?}");
                lock(&self.book).fail(Err(why));
                return;
            }
        }
        sleep(Duration::from_mins(1)).await;
        self.settle();
        let Truth { volumes, snapshots } = Truth::of(&self.sim);
        if !volumes.is_empty() || !snapshots.is_empty() {
            lock(&self.book).fail(Err(format!("left behind: {volumes:?} {snapshots:?}")));
        }
    }

    /// Waits until no process works on a call whose caller is gone. EC2's brakes on modifications
    /// are over by then too.
    async fn idle(&mut self) {
        for process in &self.processes {
            while process.driver.operations() > 0 {
                sleep(Duration::from_secs(1)).await;
            }
        }
        sleep(Duration::from_secs(20)).await;
        self.settle();
    }

    /// Modifications last, since EC2 may make them wait for a day.
    fn repeat_all(&mut self) -> Vec<Request> {
        let book = lock(&self.book);
        let waits = |request: &&Request| {
            !matches!(request, Request::Expand { .. } | Request::Modify { .. })
        };
        book.model.unfinished.iter().filter(waits).cloned().collect()
    }

    fn unpublish_all(&mut self) -> Vec<Request> {
        let book = lock(&self.book);
        let places = book.model.places.iter().filter(|(_, known)| known.may);
        let places = places.filter(|((volume, _), _)| {
            book.model.volumes.get(volume).is_none_or(|known| known.dead.is_none())
        });
        places
            .map(|((volume, node), _)| Request::Unpublish {
                volume: volume.clone(),
                node: Some(node.clone()),
            })
            .collect()
    }

    fn delete_all(&mut self) -> Vec<Request> {
        let book = lock(&self.book);
        let alive = |(_, known): &(&String, &crate::data::Thing)| known.dead.is_none();
        let snapshots = book.model.snapshots.iter().filter(alive);
        let snapshots = snapshots.map(|(id, _)| Request::DeleteSnapshot { snapshot: id.clone() });
        let volumes = book.model.volumes.iter().filter(alive);
        let volumes = volumes.map(|(id, _)| Request::Delete { volume: id.clone() });
        snapshots.chain(volumes).collect()
    }

    async fn repeat(&mut self, request: Request) {
        let process = self.processes[0].clone();
        ask(self.sim.clone(), Arc::clone(&self.book), process, request, None).await;
    }
}
