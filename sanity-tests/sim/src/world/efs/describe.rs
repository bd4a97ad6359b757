//! EFS's Describe calls. They see access points as readers do, behind the writers; file systems
//! and mount targets do not change by calls.

use csi_core::facts::efs as facts;

use super::super::call::Listing;
use super::super::{AwsError, Millis, World, page};
use super::{
    AccessPointRecord, DescribeEfs, FileSystemRecord, MountTargetRecord, bad_request,
    no_access_point, no_file_system, rules,
};

/// `MaxResults` and `MaxItems` if absent.
const PAGE_USUAL: u32 = 100;

impl World {
    /// `DescribeAccessPoints`: one, those of a file system, or all.
    pub fn describe_access_points(
        &mut self,
        call: &DescribeEfs,
        now: Millis,
    ) -> Result<Listing<AccessPointRecord>, AwsError> {
        self.advance(now);
        match (&call.access_point, &call.file_system) {
            (Some(_), Some(_)) => {
                Err(bad_request("AccessPointId and FileSystemId exclude each other."))
            }
            (Some(id), None) => {
                let items = vec![self.seen_access_point(id, now)?.clone()];
                Ok(Listing { items, next_token: None })
            }
            (None, file_system) => {
                if let Some(id) = file_system {
                    self.known_file_system(id)?;
                }
                let rows = self.efs.access_points.values().filter_map(|entry| entry.seen(now));
                let wanted = |row: &&AccessPointRecord| {
                    file_system.as_ref().is_none_or(|id| *id == row.file_system)
                };
                cut(rows.filter(wanted), |row| &row.id, call, "access point")
            }
        }
    }

    /// `DescribeFileSystems`: one or all.
    pub fn describe_file_systems(
        &mut self,
        call: &DescribeEfs,
        now: Millis,
    ) -> Result<Listing<FileSystemRecord>, AwsError> {
        self.advance(now);
        if let Some(id) = &call.file_system {
            let items = vec![self.known_file_system(id)?.clone()];
            return Ok(Listing { items, next_token: None });
        }
        let wanted = |row: &&FileSystemRecord| {
            call.creation_token.as_ref().is_none_or(|token| *token == row.id)
        };
        cut(self.efs.file_systems.values().filter(wanted), |row| &row.id, call, "file system")
    }

    /// `DescribeMountTargets`: one, those of a file system, or those that an access point is
    /// reached through.
    pub fn describe_mount_targets(
        &mut self,
        call: &DescribeEfs,
        now: Millis,
    ) -> Result<Listing<MountTargetRecord>, AwsError> {
        self.advance(now);
        let file_system = match (&call.file_system, &call.access_point, &call.mount_target) {
            (Some(id), None, None) => self.known_file_system(id)?.id.clone(),
            (None, Some(id), None) => self.seen_access_point(id, now)?.file_system.clone(),
            (None, None, Some(id)) => {
                let found = self.efs.mount_targets.get(id).cloned();
                let items = vec![found.ok_or_else(|| no_mount_target(id))?];
                return Ok(Listing { items, next_token: None });
            }
            _ => {
                return Err(bad_request(
                    "exactly one of FileSystemId, AccessPointId and MountTargetId is required.",
                ));
            }
        };
        let rows = self.efs.mount_targets.values();
        let rows = rows.filter(|row| row.file_system == file_system);
        cut(rows, |row| &row.id, call, "mount target")
    }

    fn known_file_system(&self, id: &str) -> Result<&FileSystemRecord, AwsError> {
        rules::file_system_id(id)?;
        self.efs.file_systems.get(id).ok_or_else(|| no_file_system(id))
    }

    fn seen_access_point(&self, id: &str, now: Millis) -> Result<&AccessPointRecord, AwsError> {
        rules::access_point_id(id)?;
        let entry = self.efs.access_points.get(id);
        entry.and_then(|entry| entry.seen(now)).ok_or_else(|| no_access_point(id))
    }
}

fn no_mount_target(id: &str) -> AwsError {
    AwsError::new("MountTargetNotFound", format!("Mount target '{id}' does not exist."))
}

/// Cuts rows, sorted by id, into the page that a call asks for.
fn cut<'a, T: Clone + 'a>(
    rows: impl Iterator<Item = &'a T>,
    id: impl Fn(&T) -> &String,
    call: &DescribeEfs,
    listing: &str,
) -> Result<Listing<T>, AwsError> {
    let after = match &call.next_token {
        None => String::new(),
        Some(token) => {
            page::read(token, listing).map_err(|_forged| bad_request("invalid pagination token"))?
        }
    };
    let size = call.max_results.unwrap_or(PAGE_USUAL).min(u32::from(facts::PAGE_MAX));
    if size == 0 {
        return Err(bad_request("a page must have at least one member."));
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut items: Vec<T> = rows.filter(|row| *id(row) > after).take(size + 1).cloned().collect();
    let mut next_token = None;
    if items.len() > size {
        items.truncate(size);
        next_token = items.last().map(|last| page::write(id(last), listing));
    }
    Ok(Listing { items, next_token })
}
