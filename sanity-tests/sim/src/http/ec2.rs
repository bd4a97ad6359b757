//! EC2's actions: reads the parameters, asks the world, writes the answer.

mod read;

use super::form::Form;
use super::shape;
use super::xml::Xml;
use crate::world::instance::INSTANCE_TYPES;
use crate::world::{Action, AwsError, Millis, World};

/// EC2's API version, in every request and answer.
pub(crate) const VERSION: &str = "2016-11-15";

/// What a call needs beside the world.
pub(crate) struct Context<'a> {
    pub(crate) form: &'a Form,
    pub(crate) region: &'a str,
}

/// Answers an action, without its envelope.
pub(crate) fn act(
    action: Action,
    context: &Context<'_>,
    world: &mut World,
    now: Millis,
) -> Result<Xml, AwsError> {
    let form = context.form;
    form.only(read::parameters(action))?;
    // These check their parameters in a dry run, and the driver relies on it.
    let checks = matches!(action, Action::CreateVolume | Action::CopyVolumes);
    if !checks && form.flag("DryRun")? == Some(true) {
        return Err(AwsError::dry_run());
    }
    match action {
        Action::CreateVolume => {
            let call = read::create_volume(form, world)?;
            let record = world.create_volume(&call, now)?;
            Ok(shape::volume(world, &record))
        }
        Action::CopyVolumes => {
            let record = world.copy_volumes(&read::copy_volumes(form)?, now)?;
            Ok(Xml::default().items("volumeSet", [shape::volume(world, &record)]))
        }
        Action::DeleteVolume => {
            world.delete_volume(&form.required("VolumeId")?, now)?;
            Ok(done())
        }
        Action::AttachVolume => attach(form, world, now),
        Action::DetachVolume => detach(form, world, now),
        Action::ModifyVolume => {
            let record = world.modify_volume(&read::modify_volume(form)?, now)?;
            let shown = shape::modification(world, &record);
            Ok(Xml::default().node("volumeModification", shown))
        }
        Action::CreateSnapshot => {
            let record = world.create_snapshot(&read::create_snapshot(form)?, now)?;
            Ok(shape::snapshot(world, &record))
        }
        Action::DeleteSnapshot => {
            world.delete_snapshot(&form.required("SnapshotId")?, now)?;
            Ok(done())
        }
        Action::EnableFastSnapshotRestores => {
            for snapshot in form.list("SourceSnapshotId") {
                world.enable_fast_restore(&snapshot, &form.list("AvailabilityZone"), now)?;
            }
            Ok(Xml::default().items("successful", []).items("unsuccessful", []))
        }
        Action::LockSnapshot => {
            let snapshot = form.required("SnapshotId")?;
            world.lock_snapshot(&snapshot, read::lock(form)?, now)?;
            Ok(Xml::default().text("snapshotId", snapshot))
        }
        Action::CreateTags => {
            let tags = form.pairs("Tag").into_iter();
            let tags = tags.map(|(key, value)| (key, value.unwrap_or_default())).collect();
            world.create_tags(&form.list("ResourceId"), &tags, now)?;
            Ok(done())
        }
        Action::DeleteTags => {
            world.delete_tags(&form.list("ResourceId"), &form.pairs("Tag"), now)?;
            Ok(done())
        }
        _ => describe(action, context, world, now),
    }
}

fn done() -> Xml {
    Xml::default().text("return", true)
}

fn attach(form: &Form, world: &mut World, now: Millis) -> Result<Xml, AwsError> {
    if form.number("EbsCardIndex")?.is_some_and(|card| card != 0) {
        return Err(AwsError::value("The instance type has only one EBS card."));
    }
    let (volume, instance) = (form.required("VolumeId")?, form.required("InstanceId")?);
    let shown = world.attach_volume(&volume, &instance, &form.required("Device")?, now)?;
    attachment(world, &shown)
}

fn detach(form: &Form, world: &mut World, now: Millis) -> Result<Xml, AwsError> {
    let instance = form.text("InstanceId");
    let shown = world.detach_volume(&form.required("VolumeId")?, instance.as_deref(), now)?;
    attachment(world, &shown)
}

fn attachment(world: &World, shown: &csi_core::ebs::Attachment) -> Result<Xml, AwsError> {
    let record =
        world.volume(&shown.volume).ok_or_else(|| AwsError::no_volume(shown.volume.as_str()))?;
    Ok(shape::attachment(world, record, shown))
}

fn describe(
    action: Action,
    context: &Context<'_>,
    world: &mut World,
    now: Millis,
) -> Result<Xml, AwsError> {
    let form = context.form;
    match action {
        Action::DescribeVolumes => {
            let page = world.describe_volumes(&form.describe("VolumeId")?, now)?;
            let items = page.items.iter().map(|record| shape::volume(world, record));
            Ok(Xml::default().items("volumeSet", items).maybe("nextToken", page.next_token))
        }
        Action::DescribeSnapshots => {
            read::only_own(form)?;
            let page = world.describe_snapshots(&form.describe("SnapshotId")?, now)?;
            let items = page.items.iter().map(|record| shape::snapshot(world, record));
            Ok(Xml::default().items("snapshotSet", items).maybe("nextToken", page.next_token))
        }
        Action::DescribeVolumesModifications => {
            let page = world.describe_modifications(&form.describe("VolumeId")?, now)?;
            let items = page.items.iter().map(|record| shape::modification(world, record));
            let xml = Xml::default().items("volumeModificationSet", items);
            Ok(xml.maybe("nextToken", page.next_token))
        }
        Action::DescribeVolumeStatus => {
            let page = world.describe_volume_status(&form.describe("VolumeId")?, now)?;
            let items = page.items.iter().map(shape::volume_status);
            Ok(Xml::default().items("volumeStatusSet", items).maybe("nextToken", page.next_token))
        }
        Action::DescribeInstances => {
            let page = world.describe_instances(&form.describe("InstanceId")?, now)?;
            let items = page
                .items
                .iter()
                .map(|(record, devices)| shape::reservation(world, record, devices));
            Ok(Xml::default().items("reservationSet", items).maybe("nextToken", page.next_token))
        }
        Action::DescribeAvailabilityZones => zones(context, world),
        Action::DescribeInstanceTypes => instance_types(form),
        _ => Err(AwsError::new(
            "InvalidAction",
            format!("The action {} is not valid for this web service.", action.name()),
        )),
    }
}

fn zones(context: &Context<'_>, world: &World) -> Result<Xml, AwsError> {
    let names = context.form.list("ZoneName");
    let all = world.zones();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|zone| zone.name == **name)) {
        return Err(AwsError::value(format!("Invalid availability zone: [{unknown}]")));
    }
    let wanted = all.iter().filter(|zone| names.is_empty() || names.contains(&zone.name));
    let items = wanted.map(|zone| shape::zone(zone, context.region));
    Ok(Xml::default().items("availabilityZoneInfo", items))
}

fn instance_types(form: &Form) -> Result<Xml, AwsError> {
    let names = form.list("InstanceType");
    let known = |name: &String| INSTANCE_TYPES.iter().any(|known| known.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(AwsError::new(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{unknown}]"),
        ));
    }
    let wanted = INSTANCE_TYPES
        .iter()
        .filter(|facts| names.is_empty() || names.iter().any(|name| name == facts.name));
    Ok(Xml::default().items("instanceTypeSet", wanted.map(shape::instance_type)))
}
