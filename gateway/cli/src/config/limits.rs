//! What one caller, and what some of them together, may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::Size;

/// Half of the connections that one service has, so that whatever the public is given leaves people the other half.
const MOST_OF_PUBLIC: usize = proxy::upstream::MOST_SOCKETS / 2;

/// What one subject, all strangers together, and all of the public together may use (promise 8).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Short requests of one subject at the same time.
    #[serde(default = "in_flight")]
    #[schemars(range(min = 1, max = 100_000))]
    pub in_flight: u32,
    /// Watches and other long calls of one subject at the same time.
    #[serde(default = "streams")]
    #[schemars(range(min = 1, max = 100_000))]
    pub streams: u32,
    /// Watches and other long calls of all subjects together; more are refused, those that go on stay.
    #[serde(default = "long_calls")]
    #[schemars(range(min = 16, max = 1_000_000))]
    pub long_calls: u32,
    /// Records one subject may cause each second.
    #[serde(default = "records_per_second")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub records_per_second: u32,
    /// Bytes of the ledger and of recordings that one subject may cause each day.
    #[serde(default = "bytes_per_day")]
    pub bytes_per_day: Size,
    /// Records of all strangers together each second.
    #[serde(default = "strangers")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub strangers_per_second: u32,
    /// Ledger bytes of all strangers together each second.
    #[serde(default = "strangers_bytes")]
    #[schemars(range(min = 1_024, max = 1_000_000_000))]
    pub strangers_bytes_per_second: u32,
    /// Short requests at the same time of all together who have not signed in, of what rules open to the public. Each sixteenth of their
    /// networks, by a hash, has a sixteenth of it; so with the next three.
    #[serde(default = "public_in_flight")]
    #[schemars(range(min = 16, max = MOST_OF_PUBLIC))]
    pub public_in_flight: u32,
    /// WebSockets of the public, all together at the same time. Of `longCalls` the public has no more than a quarter, whatever stands here.
    #[serde(default = "public_streams")]
    #[schemars(range(min = 16, max = MOST_OF_PUBLIC))]
    pub public_streams: u32,
    /// Records of the public each second, all together.
    #[serde(default = "public_records_per_second")]
    #[schemars(range(min = 16, max = 1_000_000))]
    pub public_records_per_second: u32,
    /// Bytes of the ledger that the public may cause each day, all together.
    #[serde(default = "public_bytes_per_day")]
    pub public_bytes_per_day: Size,
    /// Most groups that are sent to a cluster for one person; more are refused, never cut.
    #[serde(default = "groups")]
    #[schemars(range(min = 1, max = 1_000))]
    pub groups: u32,
    /// Connections at the same time.
    #[serde(default = "connections")]
    #[schemars(range(min = 16, max = 1_000_000))]
    pub connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: in_flight(),
            streams: streams(),
            long_calls: long_calls(),
            records_per_second: records_per_second(),
            bytes_per_day: bytes_per_day(),
            strangers_per_second: strangers(),
            strangers_bytes_per_second: strangers_bytes(),
            public_in_flight: public_in_flight(),
            public_streams: public_streams(),
            public_records_per_second: public_records_per_second(),
            public_bytes_per_day: public_bytes_per_day(),
            groups: groups(),
            connections: connections(),
        }
    }
}

const fn in_flight() -> u32 {
    400
}
const fn streams() -> u32 {
    2_000
}
const fn long_calls() -> u32 {
    50_000
}
const fn records_per_second() -> u32 {
    2_000
}
const fn bytes_per_day() -> Size {
    Size::mebibytes(8 * 1024)
}
const fn strangers() -> u32 {
    50
}
const fn strangers_bytes() -> u32 {
    32 * 1024
}
const fn public_in_flight() -> u32 {
    1_600
}
const fn public_streams() -> u32 {
    1_600
}
const fn public_records_per_second() -> u32 {
    4_800
}
const fn public_bytes_per_day() -> Size {
    Size::mebibytes(32 * 1024)
}
const fn groups() -> u32 {
    64
}
const fn connections() -> u32 {
    20_000
}
