//! Specifications as they were given, kept for those who ask.

use motet_proto::node as wire;
use prost::Message;

/// A specification in its encoding, a third of the size of the message: it is looked at when control asks for it
/// or changes it, and never by a packet.
pub(crate) struct KeptSpec(Box<[u8]>);

impl KeptSpec {
    pub(crate) fn new(spec: &wire::ConferenceSpec) -> KeptSpec {
        KeptSpec(spec.encode_to_vec().into())
    }

    /// The message.
    pub(crate) fn spec(&self) -> wire::ConferenceSpec {
        wire::ConferenceSpec::decode(&*self.0).expect("it was encoded here")
    }

    /// Whether this specification was given. A message has one encoding only, since it holds no maps.
    pub(crate) fn is(&self, spec: &wire::ConferenceSpec) -> bool {
        *self.0 == *spec.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{caller, conference};

    #[test]
    fn a_kept_specification_is_what_was_given() {
        let spec = conference(vec![caller("a"), caller("b")]);
        let kept = KeptSpec::new(&spec);
        assert_eq!(kept.spec(), spec);
        assert!(kept.is(&spec));
        let mut other = spec.clone();
        other.legs[0].muted = true;
        assert!(!kept.is(&other));
    }
}
