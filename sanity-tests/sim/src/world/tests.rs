//! The world's rules, one by one.

mod attachments;
mod efs;
mod listings;
mod modifications;
mod random;
mod snapshots;
mod volumes;

use super::call::{CreateVolume, Describe, Filter};
use super::*;

const ZONE: &str = "us-east-1a";

fn world() -> World {
    world_with(Settings::instant())
}

fn world_with(settings: Settings) -> World {
    let mut world = World::new(settings, 1);
    world.add_zone(ZONE);
    world.add_zone("us-east-1b");
    world
}

fn gp3(token: &str) -> CreateVolume {
    CreateVolume {
        client_token: Some(token.to_owned()),
        zone: Some(ZONE.to_owned()),
        size: Some(10),
        volume_type: Some("gp3".to_owned()),
        encrypted: Some(false),
        ..CreateVolume::default()
    }
}

fn made(world: &mut World, now: Millis) -> String {
    let token = format!("t{now}-{}", world.volumes().count());
    world.create_volume(&gp3(&token), now).unwrap().volume.id.to_string()
}

fn node(world: &mut World) -> String {
    world.set_instance(&InstanceSeed::new("m5.large", ZONE), 0).unwrap().to_string()
}

fn by_id(id: &str) -> Describe {
    Describe { ids: vec![id.to_owned()], ..Describe::default() }
}

fn by_filter(name: &str, values: &[&str]) -> Describe {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Describe { filters: vec![Filter { name: name.to_owned(), values }], ..Describe::default() }
}

fn code<T: std::fmt::Debug>(result: Result<T, AwsError>) -> String {
    result.unwrap_err().code
}
