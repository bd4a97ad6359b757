//! Creating and deleting access points.

use super::super::lagged::Lagged;
use super::super::{AwsError, Due, Millis, World};
use super::{
    AccessPointRecord, CreateAccessPoint, LifeCycle, no_access_point, no_file_system, rules,
};

impl CreateAccessPoint {
    pub(super) fn record(&self, id: &str, state: LifeCycle, created: Millis) -> AccessPointRecord {
        AccessPointRecord {
            id: id.to_owned(),
            client_token: self.client_token.clone(),
            file_system: self.file_system.clone(),
            posix_user: self.posix_user.clone(),
            root: self.root.clone(),
            tags: self.tags.clone(),
            state,
            created,
        }
    }
}

impl World {
    /// `CreateAccessPoint`. A token that an access point has, whatever its parameters and its
    /// file system, is refused with the id of that access point.
    pub fn create_access_point(
        &mut self,
        call: &CreateAccessPoint,
        now: Millis,
    ) -> Result<AccessPointRecord, AwsError> {
        self.advance(now);
        rules::check(call)?;
        let file_system = self
            .efs
            .file_systems
            .get(&call.file_system)
            .ok_or_else(|| no_file_system(&call.file_system))?;
        if file_system.state != LifeCycle::Available {
            return Err(AwsError::new(
                "IncorrectFileSystemLifeCycleState",
                format!("File system '{}' is {}.", call.file_system, file_system.state.name()),
            ));
        }
        if let Some(same) = self.access_points().find(|p| p.client_token == call.client_token) {
            let mut error = AwsError::new(
                "AccessPointAlreadyExists",
                format!("Access point '{}' already exists with this creation token.", same.id),
            );
            error.resource = Some(same.id.clone());
            return Err(error);
        }
        self.check_access_point_quota(&call.file_system)?;
        let id = self.new_access_point_id();
        let record = call.record(&id, LifeCycle::Creating, now);
        let visible_at = now.saturating_add(self.lag());
        self.efs.access_points.insert(id.clone(), Lagged::new(record.clone(), visible_at));
        self.plan_after(now, self.settings.access_point, Due::AccessPointReady(id));
        self.advance(now);
        Ok(record)
    }

    fn check_access_point_quota(&self, file_system: &str) -> Result<(), AwsError> {
        let quota = self.settings.access_point_quota;
        let there = self.access_points().filter(|p| p.file_system == file_system).count();
        if there < quota {
            return Ok(());
        }
        Err(AwsError::new(
            "AccessPointLimitExceeded",
            format!("File system '{file_system}' has reached its limit of {quota} access points."),
        ))
    }

    pub(super) fn new_access_point_id(&mut self) -> String {
        loop {
            let id = format!("fsap-{}", self.rng.id_digits());
            if !self.efs.access_points.contains_key(&id) {
                return id;
            }
        }
    }

    pub(crate) fn access_point_ready(&mut self, id: &str, at: Millis) {
        let Some(record) = self.access_point(id) else { return };
        let file_system = record.file_system.clone();
        let state = if self.access_point_fails(&file_system) {
            LifeCycle::Error
        } else {
            LifeCycle::Available
        };
        if let Some(entry) = self.efs.access_points.get_mut(id)
            && entry.truth().state == LifeCycle::Creating
        {
            entry.write(at, 0, |record| record.state = state);
        }
    }

    /// `DeleteAccessPoint`. The directory stays. Its token is free again when it is gone.
    pub fn delete_access_point(&mut self, id: &str, now: Millis) -> Result<(), AwsError> {
        self.advance(now);
        rules::access_point_id(id)?;
        let lag = self.lag();
        let entry = self.efs.access_points.get_mut(id).ok_or_else(|| no_access_point(id))?;
        if entry.truth().state != LifeCycle::Deleting {
            entry.write(now, lag, |record| record.state = LifeCycle::Deleting);
            let due = Due::AccessPointVanishes(id.to_owned());
            self.plan_after(now, self.settings.access_point_delete, due);
            self.advance(now);
        }
        Ok(())
    }
}
