//! Reading beside a writer.
