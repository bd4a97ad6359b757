use csi_sim::world::*;
#[test]
fn perf() {
    let mut w = World::new(Settings::instant(), 1);
    w.add_zone("z");
    let mut ids = vec![];
    for i in 0..5000 { ids.push(w.create_volume(&call::CreateVolume{client_token:Some(format!("t{i}")),zone:Some("z".into()),size:Some(10),volume_type:Some("gp3".into()),..Default::default()}, i).unwrap().volume.id.to_string()); }
    let t = std::time::Instant::now();
    for k in 0..20 { let d = call::Describe{filters: vec![call::Filter{name:"volume-id".into(),values:ids[k*200..(k+1)*200].to_vec()}],..Default::default()}; assert_eq!(w.describe_volumes(&d, 9999).unwrap().items.len(),200); }
    println!("20 describes of 200 in 5000: {:?}", t.elapsed());
}
