//! One name is one volume, whatever callers and network do: 32 callers at once over the wire, half
//! of whom go away after 50 ms, while replies of EC2 are lost at random.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use csi_proto::csi;
use csi_proto::csi::controller_client::ControllerClient;
use csi_sim::world::{Action, Fault, FaultKind, When};
use sanity_tests::calls::{Claim, Volume, mount};
use sanity_tests::random::{Random, seed};
use sanity_tests::stand::{NODE_ID, Settings, Stand, ZONE, on_shared_stand};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Status};

const CALLERS: u32 = 32;
const ROUNDS: u32 = 3;
/// An answer to an attach takes a second, and all 64 callers of a round need one, one by one.
const ATTACH_ROUNDS: u32 = 1;
/// When half of the callers go away.
const GIVE_UP: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_mins(1);

/// How all callers were answered.
#[derive(Debug, Default)]
struct Answers {
    codes: BTreeMap<String, u32>,
    abandoned: u32,
    took: Duration,
}

impl Answers {
    fn check(&self, lost: u64) -> Result<()> {
        ensure!(lost > 0 && self.abandoned > 0, "no fault struck: the test tested nothing");
        let open = self.codes.keys().all(|code| ["Ok", "Aborted"].contains(&code.as_str()));
        ensure!(open, "answers other than OK and ABORTED: {self:?}");
        Ok(())
    }
}

/// Lets replies of these actions be lost: the first, so that the first call lasts longer than the
/// impatient wait for it, then others at random, but never two in a row: what one lost reply leaves
/// in doubt, the call itself is to find out.
async fn lose_replies(stand: &Stand, random: &mut Random, actions: &[Action]) -> Result<()> {
    for action in actions {
        let mut nth = 1;
        for _fault in 0..5 {
            let fault = FaultKind::LoseReply;
            let fault = Fault { action: Some(*action), when: When::Nth(nth), fault };
            stand.admin.add_fault(&fault).await?;
            nth += 2 + random.below(3);
        }
    }
    Ok(())
}

/// Ends the losing of replies; how many were lost.
async fn end_of_losses(stand: &Stand) -> Result<u64> {
    let lost = stand.admin.faults().await?.iter().map(|report| report.struck).sum();
    stand.admin.clear_faults().await?;
    Ok(lost)
}

/// Makes all callers call at once, each over a connection of its own, until it is answered with
/// success: what they were answered.
async fn storm<T, F, Fut>(stand: &Stand, answers: &mut Answers, call: F) -> Result<BTreeSet<T>>
where
    T: Ord + Send + 'static,
    F: Fn(ControllerClient<Channel>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<T, Status>> + Send + 'static,
{
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, call) = (stand.controller().raw(), call.clone());
        callers.spawn(async move {
            let mut codes = Vec::new();
            let impatient = caller % 2 == 0;
            let mut abandoned = false;
            let started = Instant::now();
            if impatient {
                match timeout(GIVE_UP, call(client.clone())).await {
                    Err(_elapsed) => abandoned = true,
                    Ok(Ok(done)) => return Ok((done, codes, abandoned)),
                    Ok(Err(status)) => codes.push(status.code()),
                }
            } else {
                // The impatient come first: it is one of their calls that does the work, and whose
                // caller goes away.
                sleep(GIVE_UP / 2).await;
            }
            while started.elapsed() < PATIENCE {
                match call(client.clone()).await {
                    Ok(done) => return Ok((done, codes, abandoned)),
                    Err(status) => {
                        let again = matches!(status.code(), Code::Aborted | Code::Unavailable);
                        ensure!(again, "a final answer: {status:?}");
                        codes.push(status.code());
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
            bail!("no success after {PATIENCE:?}: {codes:?}")
        });
    }
    let mut all = BTreeSet::new();
    while let Some(ended) = callers.join_next().await {
        let (done, codes, abandoned) = ended??;
        for code in codes.into_iter().chain([Code::Ok]) {
            *answers.codes.entry(format!("{code:?}")).or_default() += 1;
        }
        answers.abandoned += u32::from(abandoned);
        all.insert(done);
    }
    answers.took += began.elapsed();
    Ok(all)
}

fn figures(what: &str, rounds: u32, seed: u64, lost: u64, answers: &Answers) -> String {
    format!(
        "{what}: CSI_SEED={seed}, {rounds} rounds of {CALLERS} callers, {lost} replies of EC2 lost, \
         {} calls abandoned, answers {:?}, {:.1} s in storms",
        answers.abandoned,
        answers.codes,
        answers.took.as_secs_f64()
    )
}

fn claim(name: &str) -> Claim {
    Claim {
        name: name.to_owned(),
        bytes: 1 << 30,
        zone: ZONE.to_owned(),
        parameters: [("type".to_owned(), "gp3".to_owned())].into(),
        capability: mount("ext4"),
        snapshot: None,
    }
}

/// The volumes of the world that carry a name, alive or not, with their states.
async fn named(stand: &Stand, name: &str) -> Result<BTreeMap<String, String>> {
    let volumes = stand.admin.state().await?.volumes.into_iter();
    let volumes =
        volumes.filter(|(_, dump)| dump.tags.get("CSIVolumeName").is_some_and(|tag| tag == name));
    Ok(volumes.map(|(id, dump)| (id, dump.state)).collect())
}

fn only<T: Ord + std::fmt::Debug>(all: BTreeSet<T>) -> Result<T> {
    ensure!(all.len() == 1, "not one but {all:?}");
    all.into_iter().next().context("nothing")
}

#[test]
fn thirty_two_creates_of_one_name_make_one_volume_with_one_id() -> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        let seed = seed();
        let mut random = Random::new(seed);
        let (mut answers, mut lost) = (Answers::default(), 0);
        for round in 0..ROUNDS {
            let name = format!("pvc-{seed}-{round}");
            lose_replies(stand, &mut random, &[Action::CreateVolume, Action::DescribeVolumes])
                .await?;
            let request = claim(&name).request();
            let ids = storm(stand, &mut answers, move |mut client| {
                let request = request.clone();
                async move {
                    let answer = client.create_volume(request).await?.into_inner();
                    Ok(answer.volume.unwrap_or_default().volume_id)
                }
            });
            let id = only(ids.await?).with_context(|| format!("CSI_SEED={seed}"))?;
            lost += end_of_losses(stand).await?;
            let volumes = named(stand, &name).await?;
            let found: Vec<_> = volumes.keys().collect();
            ensure!(found == [&id], "CSI_SEED={seed}: {id} was answered, EC2 has {volumes:#?}");
            stand.controller().delete(&id).await?;
        }
        println!("{}", figures("create", ROUNDS, seed, lost, &answers));
        answers.check(lost)?;
        Ok(())
    })
}

/// Runs a storm of attaches: the device name that all were answered.
async fn attach_storm(stand: &Stand, answers: &mut Answers, volume: &Volume) -> Result<String> {
    let request = csi::ControllerPublishVolumeRequest {
        volume_id: volume.id.clone(),
        node_id: NODE_ID.to_owned(),
        volume_capability: Some(mount("ext4")),
        ..Default::default()
    };
    let devices = storm(stand, answers, move |mut client| {
        let request = request.clone();
        async move {
            let answer = client.controller_publish_volume(request).await?.into_inner();
            Ok(answer.publish_context.get("devicePath").cloned().unwrap_or_default())
        }
    });
    only(devices.await?)
}

async fn detach_storm(stand: &Stand, answers: &mut Answers, volume: &Volume) -> Result<()> {
    let request = csi::ControllerUnpublishVolumeRequest {
        volume_id: volume.id.clone(),
        node_id: NODE_ID.to_owned(),
        ..Default::default()
    };
    storm(stand, answers, move |mut client| {
        let request = request.clone();
        async move { client.controller_unpublish_volume(request).await.map(drop) }
    })
    .await?;
    Ok(())
}

#[test]
fn thirty_two_attaches_make_one_attachment_with_one_device_name() -> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        let seed = seed();
        let mut random = Random::new(seed);
        let (mut answers, mut lost) = (Answers::default(), 0);
        let volume = stand.controller().create(&claim("pvc-attach")).await?;
        let actions = [
            Action::AttachVolume,
            Action::DetachVolume,
            Action::DescribeVolumes,
            Action::DescribeInstances,
        ];
        for _round in 0..ATTACH_ROUNDS {
            lose_replies(stand, &mut random, &actions).await?;
            let device = attach_storm(stand, &mut answers, &volume)
                .await
                .with_context(|| format!("CSI_SEED={seed}"))?;
            lost += end_of_losses(stand).await?;
            let state = stand.admin.state().await?;
            let dump = state.volumes.get(&volume.id).context("the volume is gone")?;
            let found: Vec<_> =
                dump.attachments.iter().map(|a| (&*a.instance, &*a.device, &*a.state)).collect();
            ensure!(found == [(NODE_ID, &*device, "attached")], "CSI_SEED={seed}: {found:?}");
            let instance = state.instances.get(NODE_ID).context("the instance is gone")?;
            let names = instance.devices.iter().filter(|(_, id)| **id == volume.id);
            ensure!(names.count() == 1, "CSI_SEED={seed}: {:?}", instance.devices);

            lose_replies(stand, &mut random, &actions).await?;
            detach_storm(stand, &mut answers, &volume).await?;
            lost += end_of_losses(stand).await?;
            let state = stand.admin.state().await?;
            let dump = state.volumes.get(&volume.id).context("the volume is gone")?;
            ensure!(dump.attachments.is_empty(), "CSI_SEED={seed}: {:?}", dump.attachments);
        }
        println!("{}", figures("attach and detach", ATTACH_ROUNDS, seed, lost, &answers));
        answers.check(lost)?;
        stand.controller().delete(&volume.id).await
    })
}

#[test]
fn thirty_two_deletes_of_one_volume_leave_none_and_each_is_ok_or_aborted() -> Result<()> {
    on_shared_stand(Settings::quick, async |stand| {
        let seed = seed();
        let mut random = Random::new(seed);
        let (mut answers, mut lost) = (Answers::default(), 0);
        for round in 0..ROUNDS {
            let name = format!("pvc-delete-{round}");
            let volume = stand.controller().create(&claim(&name)).await?;
            lose_replies(stand, &mut random, &[Action::DeleteVolume, Action::DescribeVolumes])
                .await?;
            let request =
                csi::DeleteVolumeRequest { volume_id: volume.id.clone(), ..Default::default() };
            storm(stand, &mut answers, move |mut client| {
                let request = request.clone();
                async move { client.delete_volume(request).await.map(drop) }
            })
            .await
            .with_context(|| format!("CSI_SEED={seed}"))?;
            lost += end_of_losses(stand).await?;
            let volumes = named(stand, &name).await?;
            let gone = volumes.values().all(|state| state.starts_with("delet"));
            ensure!(gone, "CSI_SEED={seed}: {volumes:?}");
        }
        println!("{}", figures("delete", ROUNDS, seed, lost, &answers));
        answers.check(lost)?;
        Ok(())
    })
}
