//! Header names reduced to what a lenient reader may take them for; rules about headers are read by the same.

pub(crate) use model::header::{Reduced, is_plain};
