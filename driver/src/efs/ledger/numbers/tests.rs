//! Which numbers are free, and whose a number is.

use std::collections::BTreeSet;

use csi_core::efs::{PosixUser, RootDirectory, Tags};
use proptest::prelude::*;

use super::*;

const RANGE: RangeInclusive<u32> = 1000..=1009;

fn id(n: u32) -> AccessPointId {
    format!("fsap-{n:08x}").parse().unwrap()
}

fn point(n: u32, number: u32, born: Option<u64>) -> AccessPoint {
    let tags = born.map(|born| (BORN_TAG.to_owned(), born.to_string()));
    AccessPoint {
        id: id(n),
        client_token: format!("pvc-{n}"),
        file_system: "fs-92107410".parse().unwrap(),
        state: LifeCycleState::Available,
        posix_user: Some(PosixUser { uid: number, gid: number, secondary_gids: vec![] }),
        root: RootDirectory { path: "/x".to_owned(), creation: None },
        tags: tags.into_iter().collect::<Tags>(),
    }
}

fn reserve(numbers: &mut Numbers, now: Instant) -> Result<u32, Exhausted> {
    numbers.reserve(Pool::Gids, &RANGE, (7, "pvc-new"), now)
}

#[test]
fn every_free_number_is_given_once_and_then_the_range_is_exhausted() {
    let now = Instant::now();
    let mut numbers = Numbers::default();
    numbers.listed(vec![point(1, 1003, None), point(2, 1003, None), point(3, 5, None)], now, now);
    let given: BTreeSet<u32> = (0..9).map(|_| reserve(&mut numbers, now).unwrap()).collect();
    let free: BTreeSet<u32> = RANGE.filter(|number| *number != 1003).collect();
    assert_eq!(given, free);
    let full = Exhausted { taken: 1, reserved: 9, resting: 0, next: None };
    assert_eq!(reserve(&mut numbers, now), Err(full));
    numbers.release(1000);
    assert_eq!(reserve(&mut numbers, now), Ok(1000));
}

#[test]
fn a_freed_gid_rests_before_it_is_used_again() {
    let now = Instant::now();
    let mut numbers = Numbers::default();
    numbers.listed(RANGE.map(|gid| point(gid, gid, None)).collect(), now, now);
    numbers.deleted(&id(1004), now);
    let full = Exhausted { taken: 9, reserved: 0, resting: 1, next: Some(REST) };
    assert_eq!(reserve(&mut numbers, now), Err(full));
    assert!(numbers.is_deleted(&id(1004), now));
    // What another cluster deleted rests as well.
    let later = now + READ_LAG_BOUND;
    numbers.listed(
        (1001..=1009).filter(|n| *n != 1004).map(|n| point(n, n, None)).collect(),
        later,
        later,
    );
    assert_eq!(reserve(&mut numbers, later).unwrap_err().resting, 2);
    assert_eq!(reserve(&mut numbers, now + REST), Ok(1004));
    assert_eq!(reserve(&mut numbers, later + REST), Ok(1000));
}

#[test]
fn a_reservation_whose_end_is_unknown_rests_for_all_but_its_own_volume() {
    let now = Instant::now();
    let mut numbers = Numbers::default();
    let number = reserve(&mut numbers, now).unwrap();
    numbers.doubt(number, "pvc-old", now);
    assert_ne!(reserve(&mut numbers, now), Ok(number));
    let again =
        |numbers: &mut Numbers, now| numbers.reserve(Pool::Gids, &RANGE, (7, "pvc-old"), now);
    assert_eq!(again(&mut numbers, now), Ok(number));
    assert_ne!(again(&mut numbers, now), Ok(number), "it is reserved");
    numbers.doubt(number, "pvc-old", now);
    assert_eq!(reserve(&mut numbers, now + DOUBT), Ok(number));
}

#[test]
fn a_new_access_point_counts_before_listings_show_it_and_a_deleted_one_never_comes_back() {
    let now = Instant::now();
    let mut numbers = Numbers::default();
    numbers.made(&point(1, 1000, Some(1)), now);
    numbers.listed(vec![], now, now);
    assert_eq!(numbers.verdict(&id(1), Pool::Gids), Verdict::Unseen);
    assert!(numbers.is_unproved(&id(1)));
    assert_eq!(numbers.by_token("pvc-1"), Some(id(1)));
    numbers.listed(vec![point(1, 1000, Some(1))], now, now);
    assert_eq!(numbers.verdict(&id(1), Pool::Gids), Verdict::Own);
    assert!(!numbers.is_unproved(&id(1)));
    numbers.deleted(&id(1), now);
    numbers.listed(vec![point(1, 1000, Some(1))], now, now);
    assert_eq!(numbers.by_token("pvc-1"), None, "reads lag");
}

#[test]
fn of_two_the_younger_yields_and_both_see_it_the_same_way() {
    let now = Instant::now();
    for (a, b) in [(Some(5), Some(9)), (None, Some(1)), (Some(5), Some(5)), (None, None)] {
        let mut numbers = Numbers::default();
        numbers.listed(vec![point(1, 1000, a), point(2, 1000, b), point(3, 1001, a)], now, now);
        assert_eq!(numbers.verdict(&id(1), Pool::Gids), Verdict::Wait(id(2)));
        assert_eq!(numbers.verdict(&id(2), Pool::Gids), Verdict::Yield(id(1)));
        assert_eq!(numbers.verdict(&id(3), Pool::Gids), Verdict::Own);
    }
}

#[test]
fn one_that_goes_away_collides_with_nobody_and_keeps_its_number() {
    let now = Instant::now();
    let mut numbers = Numbers::default();
    let leaving = AccessPoint { state: LifeCycleState::Deleting, ..point(1, 1000, None) };
    numbers.listed(vec![leaving, point(2, 1000, Some(1))], now, now);
    assert_eq!(numbers.verdict(&id(2), Pool::Gids), Verdict::Own);
    assert_eq!(numbers.by_token("pvc-1"), None);
    assert!((0..9).all(|_| reserve(&mut numbers, now).unwrap() != 1000));
}

#[test]
fn a_user_is_chosen_among_users() {
    let now = Instant::now();
    let mut numbers = Numbers::default();
    let mut other = point(1, 5, None);
    other.posix_user = Some(PosixUser { uid: 1000, gid: 5, secondary_gids: vec![] });
    numbers.listed(vec![other], now, now);
    let of =
        |numbers: &mut Numbers, pool| numbers.reserve(pool, &(1000..=1001), (0, "pvc-new"), now);
    assert_eq!(of(&mut numbers, Pool::Uids), Ok(1001));
    assert_eq!(of(&mut numbers, Pool::Gids), Ok(1000));
}

proptest! {
    #[test]
    fn a_number_is_never_given_twice(taken in proptest::collection::hash_set(1000_u32..1010, 0..10), seed: u64) {
        let now = Instant::now();
        let mut numbers = Numbers::default();
        numbers.listed(taken.iter().map(|gid| point(*gid, *gid, None)).collect(), now, now);
        let mut given = taken.clone();
        while let Ok(number) = numbers.reserve(Pool::Gids, &RANGE, (seed, "pvc-new"), now) {
            prop_assert!(given.insert(number), "{number}");
        }
        prop_assert_eq!(given.len(), 10);
    }
}
