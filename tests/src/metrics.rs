//! A scrape, read as Prometheus would: names, types, labels, series. For tests that compare what the gateway says of itself
//! with pages, alerts and dashboards.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};

use crate::browser::Browser;

/// One metric with all its series.
#[derive(Debug, Clone, Default)]
pub struct Metric {
    /// `counter`, `gauge`, `histogram`.
    pub kind: String,
    /// Its help text.
    pub says: String,
    /// Each label with the values that occur, sorted.
    pub labels: Vec<(String, Vec<String>)>,
}

/// Everything that `/metrics` says at one moment, by the name that is asked for: counters with `_total`, histograms without
/// `_bucket`.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// The metrics.
    pub metrics: BTreeMap<String, Metric>,
    /// Each series with its value.
    pub series: BTreeMap<String, f64>,
}

impl Scrape {
    /// Asks an admin listener.
    ///
    /// # Errors
    /// It does not answer, or what it says is no exposition.
    pub fn of(admin: SocketAddr) -> anyhow::Result<Self> {
        let page = Browser::default().request("GET", &format!("http://{admin}/metrics"), "")?;
        ensure!(page.status == 200, "/metrics answers {}", page.status);
        Self::read(&page.body)
    }

    /// Reads an exposition.
    ///
    /// # Errors
    /// A line is none of HELP, TYPE, EOF or a sample, or a name is declared twice.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let (mut scrape, mut says, mut name) = (Self::default(), String::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                says = help.split_once(' ').context("a help text")?.1.to_owned();
            } else if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (base, kind) = declared.split_once(' ').context("a type")?;
                name = if kind == "counter" {
                    format!("{base}_total")
                } else {
                    base.to_owned()
                };
                let metric = Metric {
                    kind: kind.to_owned(),
                    says: says.clone(),
                    labels: Vec::new(),
                };
                ensure!(
                    scrape.metrics.insert(name.clone(), metric).is_none(),
                    "`{name}` is declared twice"
                );
            } else if line != "# EOF" && !line.is_empty() {
                ensure!(!line.starts_with('#'), "what is `{line}`?");
                scrape.sample(&name, line)?;
            }
        }
        for (_, values) in scrape.metrics.values_mut().flat_map(|metric| &mut metric.labels) {
            values.sort_unstable();
        }
        Ok(scrape)
    }

    fn sample(&mut self, name: &str, line: &str) -> anyhow::Result<()> {
        let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
        self.series.insert(series.to_owned(), value.parse()?);
        let metric = self
            .metrics
            .get_mut(name)
            .with_context(|| format!("{line} before its type"))?;
        for (label, value) in labels(series) {
            if label == "le" {
                continue;
            }
            let place = metric.labels.iter_mut().find(|(known, _)| known == label);
            match place {
                Some((_, values)) if values.iter().any(|known| known == value) => {}
                Some((_, values)) => values.push(value.to_owned()),
                None => metric.labels.push((label.to_owned(), vec![value.to_owned()])),
            }
        }
        Ok(())
    }

    /// The names of all series.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.series.keys().map(String::as_str).collect()
    }

    /// The sum of all series of this name whose labels have these values.
    #[must_use]
    pub fn sum(&self, name: &str, wanted: &[(&str, &str)]) -> f64 {
        let of_name = self
            .series
            .iter()
            .filter(|(series, _)| series.split('{').next() == Some(name));
        let matching = of_name.filter(|(series, _)| {
            let has: Vec<_> = labels(series).collect();
            wanted.iter().all(|pair| has.contains(pair))
        });
        matching.map(|(_, value)| value).sum()
    }
}

/// Values have no quotes in them: they come from closed lists and names of clusters.
fn labels(series: &str) -> impl Iterator<Item = (&str, &str)> {
    let inside = series
        .split_once('{')
        .map_or("", |(_, rest)| rest.trim_end_matches('}'));
    let pairs = inside.split("\",").filter(|pair| !pair.is_empty());
    pairs.filter_map(|pair| pair.trim_end_matches('"').split_once("=\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_is_read_with_its_labels() {
        let text = "# HELP a What it is.\n# TYPE a counter\na_total{x=\"1\",y=\"p\"} 3\na_total{x=\"2\",y=\"p\"} 4.5\n\
                    # HELP b B.\n# TYPE b histogram\nb_sum{k=\"v\"} 0.5\nb_bucket{le=\"0.1\",k=\"v\"} 1\n# EOF\n";
        let scrape = Scrape::read(text).unwrap();
        let a = &scrape.metrics["a_total"];
        assert_eq!((a.kind.as_str(), a.says.as_str()), ("counter", "What it is."));
        assert_eq!(
            a.labels,
            [
                ("x".to_owned(), vec!["1".to_owned(), "2".to_owned()]),
                ("y".to_owned(), vec!["p".to_owned()])
            ]
        );
        assert!((scrape.sum("a_total", &[("y", "p")]) - 7.5).abs() < 1e-9);
        assert!((scrape.sum("a_total", &[("x", "2")]) - 4.5).abs() < 1e-9);
        assert_eq!(scrape.metrics["b"].labels, [("k".to_owned(), vec!["v".to_owned()])]);
        assert!(Scrape::read("# TYPE a counter\n# TYPE a counter\n").is_err());
    }
}
