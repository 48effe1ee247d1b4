//! `AccessRule` documents (`gatescribe.dev/v1`): what RBAC cannot say.

mod labels;

pub use self::labels::{LabelOperator, LabelRequirement, LabelSelector};
