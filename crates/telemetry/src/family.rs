//! Families of samples, from values read at scrape time.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

use crate::Error;

/// Name, kind and labels of a family: all but its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: MetricType,
    pub(crate) labels: &'static [&'static str],
}

impl Spec {
    pub(crate) const fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: MetricType::COUNTER, labels }
    }

    pub(crate) const fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: MetricType::GAUGE, labels }
    }

    pub(crate) const fn histogram(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, kind: MetricType::HISTOGRAM, labels }
    }

    pub(crate) fn desc(&self) -> Result<Desc, Error> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
            .map_err(Error::Register)
    }

    /// The family with its samples; without any it must not be returned to the registry.
    pub(crate) fn family(&self, metrics: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(metrics);
        family
    }

    /// One sample of a counter or gauge; `values` are those of the labels, in their order.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' samples are floats")]
    pub(crate) fn sample(&self, values: &[&str], value: u64) -> Metric {
        self.sample_f64(values, value as f64)
    }

    pub(crate) fn sample_f64(&self, values: &[&str], value: f64) -> Metric {
        let mut metric = self.metric(values);
        if self.kind == MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    }

    pub(crate) fn sample_histogram(&self, values: &[&str], value: proto::Histogram) -> Metric {
        let mut metric = self.metric(values);
        metric.set_histogram(value);
        metric
    }

    fn metric(&self, values: &[&str]) -> Metric {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pairs = self.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        Metric::from_label(pairs.collect())
    }
}

/// A family and how its samples are read from one `S`.
pub(crate) struct Row<S: ?Sized> {
    pub(crate) spec: Spec,
    pub(crate) read: fn(&Spec, &S) -> Vec<Metric>,
}

/// The descriptions of several families, as a registry wants them.
pub(crate) fn descs<S: ?Sized>(rows: &[Row<S>]) -> Result<Vec<Desc>, Error> {
    rows.iter().map(|row| row.spec.desc()).collect()
}

/// The families of several sources; none of those that would be empty.
pub(crate) fn collect<'s, S: ?Sized + 's>(
    rows: &[Row<S>],
    sources: impl Iterator<Item = &'s S> + Clone,
) -> Vec<MetricFamily> {
    let family = |row: &Row<S>| {
        row.spec.family(sources.clone().flat_map(|source| (row.read)(&row.spec, source)).collect())
    };
    rows.iter().map(family).filter(|family| !family.get_metric().is_empty()).collect()
}
