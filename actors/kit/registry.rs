//! Everything under supervision in one place, readable by anyone without asking an actor.

use std::sync::Arc;

use api_log::ids::UnixMillis;
use parking_lot::Mutex;
use serde::Serialize;

use super::probe::as_text;
use super::{Budget, BudgetReport, ChildHealth, ChildReport, Condition, NurseryHealth, NurseryReport, Raised};

/// Everything that runs under supervision, in the order it was named first.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    children: Vec<Arc<ChildHealth>>,
    nurseries: Vec<Arc<NurseryHealth>>,
    budgets: Vec<(Arc<str>, Budget)>,
    conditions: Vec<Condition>,
}

/// A [`Registry`] as it stood at one moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The supervised children.
    pub children: Vec<ChildReport>,
    /// The nurseries.
    pub nurseries: Vec<NurseryReport>,
    /// The budgets.
    pub budgets: Vec<NamedBudget>,
    /// What is wrong, and since when.
    pub troubles: Vec<Trouble>,
    /// The conditions that are raised.
    pub conditions: Vec<Raised>,
}

/// Something wrong with one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    /// The child's name, or that of its nursery.
    pub name: String,
    /// `backing_off`, `failed` or `hung`.
    pub reason: &'static str,
    /// Since when.
    #[serde(serialize_with = "as_text")]
    pub since: UnixMillis,
}

/// One budget in a [`Report`].
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NamedBudget {
    /// Its name.
    pub name: String,
    /// How it stands.
    #[serde(flatten)]
    pub budget: BudgetReport,
}

impl Registry {
    /// An empty one.
    pub(crate) fn new() -> Registry {
        Registry::default()
    }

    /// The health of the child of that name, made when it is named first. The same across restarts.
    pub(crate) fn child(&self, name: &str) -> Arc<ChildHealth> {
        let mut entries = self.0.lock();
        if let Some(known) = entries.children.iter().find(|it| it.name() == name) {
            return known.clone();
        }
        let health = Arc::new(ChildHealth::new(name.into()));
        entries.children.push(health.clone());
        health
    }

    /// The health of the nursery of that name, made when it is named first.
    pub(crate) fn nursery(&self, name: &str) -> Arc<NurseryHealth> {
        let mut entries = self.0.lock();
        if let Some(known) = entries.nurseries.iter().find(|it| it.name() == name) {
            return known.clone();
        }
        let health = Arc::new(NurseryHealth::new(name.into()));
        entries.nurseries.push(health.clone());
        health
    }

    /// Shows a budget under that name, in place of one that was shown so before.
    pub(crate) fn show(&self, name: &str, budget: &Budget) {
        let mut entries = self.0.lock();
        entries.budgets.retain(|(it, _)| &**it != name);
        entries.budgets.push((name.into(), budget.clone()));
    }

    /// The condition of that name, made when it is named first.
    pub(crate) fn condition(&self, name: &'static str) -> Condition {
        let mut entries = self.0.lock();
        if let Some(known) = entries.conditions.iter().find(|it| it.name() == name) {
            return known.clone();
        }
        let condition = Condition::new(name);
        entries.conditions.push(condition.clone());
        condition
    }

    /// Everything as it stands. The figures of one child belong together only roughly.
    pub(crate) fn snapshot(&self) -> Report {
        let entries = self.0.lock();
        let children: Vec<_> = entries.children.iter().map(|it| it.report()).collect();
        let hung = entries.nurseries.iter().flat_map(|it| it.watched()).map(|it| it.report());
        let troubles = children.iter().cloned().chain(hung).filter_map(Trouble::of).collect();
        let budgets = entries.budgets.iter();
        Report {
            children,
            nurseries: entries.nurseries.iter().map(|it| it.report()).collect(),
            budgets: budgets.map(|(name, it)| NamedBudget { name: name.to_string(), budget: it.report() }).collect(),
            troubles,
            conditions: entries.conditions.iter().filter_map(Condition::raised).collect(),
        }
    }

    /// Whom the watchdog looks at: the supervised children, and those in nurseries that asked for it.
    pub(super) fn watched(&self) -> Vec<Arc<ChildHealth>> {
        let entries = self.0.lock();
        let nurslings = entries.nurseries.iter().flat_map(|it| it.watched());
        entries.children.iter().cloned().chain(nurslings).collect()
    }
}

impl Trouble {
    fn of(child: ChildReport) -> Option<Trouble> {
        let (reason, since) = child.trouble()?;
        Some(Trouble { name: child.name, reason, since })
    }
}
