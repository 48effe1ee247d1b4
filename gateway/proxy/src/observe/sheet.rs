//! Writes what was counted in the form of OpenMetrics. Each name is declared once, with all its series below it.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::Times;

/// One scrape being written.
#[derive(Debug)]
pub struct Sheet<'a>(DescriptorEncoder<'a>);

/// The name of a metric and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// As Prometheus shows it, but for the `_total` of counters.
    pub name: &'static str,
    /// One sentence, with a final dot.
    pub says: &'static str,
}

impl<'a> Sheet<'a> {
    /// A sheet on what the registry hands a collector.
    #[must_use]
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Counters, by labels.
    ///
    /// # Errors
    /// The scrape cannot be written on.
    pub fn counters<L: EncodeLabelSet>(&mut self, name: Name, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name.name, name.says, None, MetricType::Counter)?;
        for (labels, value) in rows {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// Gauges, by labels.
    ///
    /// # Errors
    /// The scrape cannot be written on.
    pub fn gauges<L: EncodeLabelSet>(&mut self, name: Name, rows: impl IntoIterator<Item = (L, f64)>) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name.name, name.says, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Histograms, by labels.
    ///
    /// # Errors
    /// The scrape cannot be written on.
    pub fn times<'t, L: EncodeLabelSet>(
        &mut self,
        name: Name,
        rows: impl IntoIterator<Item = (L, &'t Times)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name.name, name.says, None, MetricType::Histogram)?;
        for (labels, times) in rows {
            let read = times.read();
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)?;
        }
        Ok(())
    }
}

/// A count as Prometheus takes it: beyond 2⁵³ the last digits are lost.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "Prometheus stores every sample as a double")]
pub const fn number(count: u64) -> f64 {
    count as f64
}
