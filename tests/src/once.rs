//! What all stories of one binary share, and the first who asks starts. Not for what a story changes: whoever shares it has
//! names of their own in it.

use std::sync::OnceLock;

/// Started once; if that fails, whoever asks is told why.
///
/// ```no_run
/// use tests::cluster::{Cluster, Options};
/// use tests::once::Once;
///
/// fn world() -> anyhow::Result<&'static Cluster> {
///     static WORLD: Once<Cluster> = Once::new();
///     WORLD.get(|| Cluster::start(Options::default()))
/// }
/// ```
#[derive(Debug, Default)]
pub struct Once<T>(OnceLock<Result<T, String>>);

impl<T> Once<T> {
    /// Nothing is started yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// What `start` gave the first who asked.
    ///
    /// # Errors
    /// It could not be started.
    pub fn get(&self, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<&T> {
        let started = self.0.get_or_init(|| start().map_err(|error| format!("{error:#}")));
        started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_who_asks_starts_it_and_everybody_is_told_why_it_could_not_be() {
        let shared = Once::new();
        assert_eq!(*shared.get(|| Ok(1)).unwrap(), 1);
        assert_eq!(*shared.get(|| Ok(2)).unwrap(), 1);
        let broken = Once::<u8>::new();
        for _ in 0..2 {
            let told = broken.get(|| anyhow::bail!("no etcd")).unwrap_err();
            assert_eq!(told.to_string(), "no etcd");
        }
    }
}
