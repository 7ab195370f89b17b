//! Parameter sets that SDP carries (RFC 6184 section 8.1, RFC 7798 section 7.1).

use super::annexb::START_CODE;
use super::{PayloadFormat, UNIT_BYTES_MAX};
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// With padding or without it: both are seen.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parameter sets that `a=fmtp` names, as a byte stream; empty: it names none. A set that is not base64 is left
/// out.
pub fn parameter_sets(format: PayloadFormat, fmtp: &str) -> Vec<u8> {
    let names: &[&str] = match format {
        PayloadFormat::H264 => &["sprop-parameter-sets"],
        PayloadFormat::H265 => &["sprop-vps", "sprop-sps", "sprop-pps"],
        PayloadFormat::Vp8 => &[],
    };
    let mut stream = Vec::new();
    for name in names {
        let parameters = fmtp.split(';').filter_map(|parameter| parameter.trim().split_once('='));
        for (_, value) in parameters.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name)) {
            for set in value.split(',').filter_map(|set| BASE64.decode(set.trim()).ok()) {
                if !set.is_empty() && stream.len() + set.len() < UNIT_BYTES_MAX / 2 {
                    stream.extend_from_slice(&START_CODE);
                    stream.extend_from_slice(&set);
                }
            }
        }
    }
    stream
}
