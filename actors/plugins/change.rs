//! Changes of the list that are asked for at run time: built first, then kept, then in force.

use api_log::plugin::instance::{BadInstance, Fault, Instance};
use api_log::plugin::set::Source;
use api_log::store::overrides::{Overrides, OverridesError};

use super::Plugins;

/// What is asked for.
pub(crate) enum Change {
    /// This list, in place of whatever is there.
    Replace(Vec<Instance>),
    /// One instance of the stored list, changed; what it is changed to is told by its stored form.
    Patch {
        /// Which.
        id: String,
        /// The stored instance with the changes.
        patch: Patch,
    },
    /// What the configuration says is in force again.
    Remove,
}

/// Makes of a stored instance the one that is wanted.
pub(crate) type Patch = Box<dyn FnOnce(usize, &Instance) -> Result<Instance, BadInstance> + Send>;

/// What came of it.
pub(crate) enum Changed {
    /// The list in force.
    List(Vec<Instance>),
    /// The instance in force.
    One(Box<Instance>),
    /// The list is the configuration's.
    Removed,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// What stands in the file cannot be read.
    #[error("{0}")]
    Read(OverridesError),
    /// What stands in the file is out of form.
    #[error("{0}")]
    Malformed(String),
    /// The file cannot be written.
    #[error("{0}")]
    Write(OverridesError),
    /// An instance cannot be taken.
    #[error(transparent)]
    Bad(#[from] BadInstance),
    /// There is no such instance in the stored list, or no stored list.
    #[error("{0}")]
    NotFound(String),
}

impl Plugins {
    /// Carries it out (blocking): on any error file and set are as they were.
    pub(super) fn change(&self, change: Change) -> Result<Changed, ChangeError> {
        let _writing = self.overrides.lock();
        let path = self.overrides.path();
        let mut overrides = Overrides::read(path).map_err(ChangeError::Read)?;
        let (source, list, changed) = match change {
            Change::Replace(list) => (Source::Override, list.clone(), Changed::List(list)),
            Change::Patch { id, patch } => {
                let mut list = stored(&overrides)?;
                let found = list.iter().position(|it| it.id == id);
                let index =
                    found.ok_or_else(|| ChangeError::NotFound(format!("no instance {id} in the stored list")))?;
                list[index] = patch(index, &list[index])?;
                let one = Box::new(list[index].clone());
                (Source::Override, list, Changed::One(one))
            }
            Change::Remove => (Source::Yaml, self.configured_list(), Changed::Removed),
        };
        self.refuse_reserved(&list)?;
        let is_written = match source {
            Source::Override => {
                overrides.set_plugins(&list);
                true
            }
            Source::Yaml => overrides.remove_plugins(),
        };
        if is_written {
            if let Err(source) = fault!(io "plugins.persist") {
                return Err(ChangeError::Write(OverridesError::Io { path: path.to_owned(), source }));
            }
            overrides.write(path).map_err(ChangeError::Write)?;
        }
        fault!("plugins.persisted");
        self.put(source, list);
        self.recover();
        Ok(changed)
    }

    /// The configuration's own filters have ids that nobody else may have.
    fn refuse_reserved(&self, list: &[Instance]) -> Result<(), BadInstance> {
        let always = &self.configured.lock().always;
        let found = list.iter().position(|it| always.iter().any(|own| own.id == it.id));
        found.map_or(Ok(()), |index| {
            Err(BadInstance { index, id: Some(list[index].id.clone()), fault: Fault::DuplicateId })
        })
    }
}

/// The list that is stored.
fn stored(overrides: &Overrides) -> Result<Vec<Instance>, ChangeError> {
    let values = overrides.plugins().map_err(|error| ChangeError::Malformed(error.to_string()))?;
    let values = values.ok_or_else(|| ChangeError::NotFound("no list is stored; PUT a whole one first".to_owned()))?;
    let (list, bad) = Instance::read_list(values);
    match bad.into_iter().next() {
        None => Ok(list),
        Some(bad) => Err(ChangeError::Malformed(bad.to_string())),
    }
}
