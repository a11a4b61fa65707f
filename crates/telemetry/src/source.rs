//! Families whose numbers somebody else keeps, and is asked for at scrape time.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::Error;
use crate::family::{Row, collect, descs};

type Ask<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Where numbers come from, once there is somebody who keeps them.
pub(crate) struct Source<T>(OnceLock<Ask<T>>);

impl<T> Source<T> {
    /// `false` if there is a source already.
    pub(crate) fn set(&self, ask: Ask<T>) -> bool {
        self.0.set(ask).is_ok()
    }
}

impl<T> Default for Source<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("set", &self.0.get().is_some()).finish()
    }
}

/// Exposes what a [`Source`] says; nothing before it is set.
pub(crate) struct SourceCollector<T: 'static> {
    source: Arc<Source<T>>,
    rows: &'static [Row<T>],
    descs: Vec<Desc>,
}

impl<T> SourceCollector<T> {
    pub(crate) fn new(source: Arc<Source<T>>, rows: &'static [Row<T>]) -> Result<Self, Error> {
        Ok(Self { source, rows, descs: descs(rows)? })
    }
}

impl<T> Collector for SourceCollector<T> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let numbers = self.source.0.get().map(|ask| ask());
        collect(self.rows, numbers.iter())
    }
}
