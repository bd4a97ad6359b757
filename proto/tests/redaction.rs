//! No secret reaches a log through `Debug`. Which fields are secret is read from the descriptor, so
//! that a field added by a later specification is tested without being listed here.
#![expect(clippy::expect_used, reason = "what a test relies on and does not find fails the test")]

use std::collections::HashMap;
use std::fmt::Debug;

use csi_proto::FILE_DESCRIPTOR_SET;
use csi_proto::csi;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, Value,
};

/// Number of the field option `csi_secret`.
const CSI_SECRET: u32 = 1059;

/// Shows an encoded message.
type Shown = fn(&[u8]) -> String;

/// Full names of messages, and how their Rust types show them.
const TYPES: &[(&str, Shown)] = &include!(concat!(env!("OUT_DIR"), "/types.rs"));

fn shown<M: Message + Default + Debug>(encoded: &[u8]) -> String {
    let message = M::decode(encoded).expect("the message was encoded from its own descriptor");
    format!("{message:?} {message:#?}")
}

fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().extensions().any(|(option, value)| {
        option.number() == CSI_SECRET && value.as_bool().expect("csi_secret is a bool")
    })
}

/// An encoded message with two entries in each secret field.
fn with_secrets(message: &MessageDescriptor) -> Vec<u8> {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields().filter(is_secret) {
        assert!(field.is_map(), "{}: this test only knows secrets in maps", field.full_name());
        let entry =
            |n: u8| (MapKey::String(format!("key-{n}")), Value::String(format!("open-sesame-{n}")));
        filled.set_field(&field, Value::Map(HashMap::from([entry(1), entry(2)])));
    }
    filled.encode_to_vec()
}

#[test]
fn every_field_marked_secret_is_shown_as_a_count() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the embedded set is valid");
    let secretive: Vec<_> =
        pool.all_messages().filter(|m| m.fields().any(|f| is_secret(&f))).collect();
    // As many as in 1.13; fewer would mean that the option got lost on its way here.
    assert!(secretive.len() >= 22, "only {} messages have secrets", secretive.len());

    for message in secretive {
        let name = message.full_name();
        let (_, shown) = TYPES.iter().find(|t| t.0 == name).expect("every message has a type");
        let shown = shown(&with_secrets(&message));
        assert!(!shown.contains("open-sesame"), "a secret is shown: {shown}");
        assert!(!shown.contains("key-"), "the name of a secret is shown: {shown}");
        for field in message.fields().filter(is_secret) {
            let count = format!("{}: <2 redacted>", field.name());
            assert_eq!(shown.matches(&count).count(), 2, "plain and pretty: {shown}");
        }
    }
}

#[test]
fn fields_beside_the_secrets_are_shown_in_full_and_in_order() {
    let request = csi::CreateVolumeRequest {
        name: "pvc-1".to_owned(),
        parameters: [("b", "2"), ("a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        secrets: [("token".to_owned(), "open-sesame".to_owned())].into(),
        ..csi::CreateVolumeRequest::default()
    };

    assert_eq!(
        format!("{request:?}"),
        "CreateVolumeRequest { name: \"pvc-1\", capacity_range: None, volume_capabilities: [], \
         parameters: {\"a\": \"1\", \"b\": \"2\"}, secrets: <1 redacted>, \
         volume_content_source: None, accessibility_requirements: None, mutable_parameters: {} }"
    );
}
