//! One family with labels: a row for each combination of label values that was met, exposed in the order of the values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::names::{Family, Type};

/// A label's value: mostly one of a closed vocabulary.
pub(super) type Value = Cow<'static, str>;

/// What a row holds.
pub(super) trait Cell: fmt::Debug + Clone + Send + Sync + 'static {
    /// Its type in the exposition.
    const TYPE: MetricType;

    /// Writes its samples.
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result;
}

/// A number that only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

/// A number that goes up and down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Level(pub(super) i64);

impl Cell for Count {
    const TYPE: MetricType = MetricType::Counter;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, u64, f64>(&self.0, None)
    }
}

impl Cell for Level {
    const TYPE: MetricType = MetricType::Gauge;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.0)
    }
}

impl Cell for Histogram {
    const TYPE: MetricType = MetricType::Histogram;

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        EncodeMetric::encode(self, encoder)
    }
}

/// A family of metrics with `N` labels. Clones share their rows.
#[derive(Debug, Clone)]
pub(super) struct Table<const N: usize, C> {
    labels: &'static [&'static str],
    rows: Arc<Mutex<BTreeMap<[Value; N], C>>>,
}

impl<const N: usize, C: Cell> Table<N, C> {
    /// A family without rows, which is not exposed until it has one.
    pub(super) fn register(family: &Family, registry: &mut Registry) -> Self {
        debug_assert_eq!(family.labels.len(), N, "`{}` has other labels", family.name);
        let table = Self { labels: family.labels, rows: Arc::default() };
        registry.register(family.base(), family.help, table.clone());
        table
    }

    /// A family with these rows from the start.
    pub(super) fn with_rows<const R: usize>(self, rows: [([&'static str; N], C); R]) -> Self {
        for (values, cell) in rows {
            self.rows().insert(values.map(Value::Borrowed), cell);
        }
        self
    }

    /// Sets a row.
    pub(super) fn set(&self, values: [Value; N], cell: C) {
        self.rows().insert(values, cell);
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<[Value; N], C>> {
        // Every row is whole between any two statements, so a panic elsewhere does not spoil it.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const N: usize> Table<N, Count> {
    /// Counts one more.
    pub(super) fn count(&self, values: [Value; N]) {
        let mut rows = self.rows();
        let count = rows.entry(values).or_default();
        count.0 = count.0.saturating_add(1);
    }
}

impl<const N: usize> Table<N, Level> {
    /// Moves a row up or down.
    pub(super) fn shift(&self, values: [Value; N], by: i64) {
        self.rows().entry(values).or_default().0 += by;
    }
}

/// The labels of one row.
struct Row<'a, const N: usize> {
    labels: &'static [&'static str],
    values: &'a [Value; N],
}

impl<const N: usize> EncodeLabelSet for Row<'_, N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeLabel;
        for (label, value) in self.labels.iter().zip(self.values) {
            (*label, value.as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

impl<const N: usize, C: Cell> EncodeMetric for Table<N, C> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (values, cell) in self.rows().iter() {
            if N == 0 {
                return cell.encode(encoder);
            }
            cell.encode(encoder.encode_family(&Row { labels: self.labels, values })?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        C::TYPE
    }

    fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }
}

/// A family of one sample that is read when it is asked for; not exposed while there is nothing to read.
pub(super) struct Reading<const N: usize> {
    labels: &'static [&'static str],
    values: [Value; N],
    kind: Type,
    read: Box<dyn Fn() -> Option<f64> + Send + Sync>,
}

impl<const N: usize> Reading<N> {
    /// A family that is read by a function.
    pub(super) fn register(
        family: &Family,
        registry: &mut Registry,
        values: [Value; N],
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        debug_assert_eq!(family.labels.len(), N, "`{}` has other labels", family.name);
        let reading = Self { labels: family.labels, values, kind: family.kind, read: Box::new(read) };
        registry.register(family.base(), family.help, reading);
    }
}

impl<const N: usize> fmt::Debug for Reading<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("values", &self.values).finish_non_exhaustive()
    }
}

impl<const N: usize> EncodeMetric for Reading<N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Some(value) = (self.read)() else { return Ok(()) };
        let row = Row { labels: self.labels, values: &self.values };
        let write = |mut encoder: MetricEncoder<'_>| match self.kind {
            Type::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            Type::Gauge | Type::Histogram => encoder.encode_gauge(&value),
        };
        if N == 0 { write(encoder) } else { write(encoder.encode_family(&row)?) }
    }

    fn metric_type(&self) -> MetricType {
        match self.kind {
            Type::Counter => MetricType::Counter,
            Type::Gauge | Type::Histogram => MetricType::Gauge,
        }
    }

    fn is_empty(&self) -> bool {
        (self.read)().is_none()
    }
}
