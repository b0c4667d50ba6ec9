//! All that stands while scenarios run: both upstreams, nginx before them, and where our program is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::nginx;
use crate::plan::Plan;
use crate::process::{Running, Trouble, free_address};
use crate::recorder::{ARENAS, ARENAS_NAME};

pub(crate) struct Stand {
    /// The program under test.
    pub(crate) binary: PathBuf,
    /// Data dirs, logs and configurations.
    pub(crate) folder: PathBuf,
    pub(crate) proxy: Running,
    pub(crate) same: Upstream,
    pub(crate) made: Upstream,
}

/// An upstream, and nginx before it.
pub(crate) struct Upstream {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) by_nginx: SocketAddr,
}

/// Which one a scenario needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answers {
    /// Always the same, by nginx.
    Same,
    /// Made as asked for, by our own gateway.
    Made,
}

impl Stand {
    pub(crate) fn start(plan: &Plan, binary: &Path) -> Result<Stand, Trouble> {
        tidy_up(&plan.work);
        std::fs::create_dir_all(&plan.work).map_err(|error| Trouble::at(&plan.work.display().to_string(), error))?;
        let folder = plan.work.canonicalize().map_err(|error| Trouble::at(&plan.work.display().to_string(), error))?;
        let (same, same_address) = nginx::upstream(&folder)?;
        let made_address = free_address()?;
        let own = std::env::current_exe().map_err(|error| Trouble::at("this program", error))?;
        let mut command = Command::new(own);
        let mut made = Running::start("gateway", &folder, command.args(["gateway", &made_address.to_string()]))?;
        made.until_listening(made_address)?;
        let (proxy, by_nginx) = nginx::proxy(&folder, plan.nginx_workers, [same_address, made_address])?;
        let same = Upstream { running: same, address: same_address, by_nginx: by_nginx[0] };
        let made = Upstream { running: made, address: made_address, by_nginx: by_nginx[1] };
        Ok(Stand { binary: binary.to_owned(), folder, proxy, same, made })
    }

    pub(crate) fn upstream(&self, answers: Answers) -> &Upstream {
        match answers {
            Answers::Same => &self.same,
            Answers::Made => &self.made,
        }
    }

    /// An empty folder of this name.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf, Trouble> {
        let folder = self.folder.join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|error| Trouble::at(&folder.display().to_string(), error))?;
        Ok(folder)
    }
}

/// Removes what an earlier run left that did not come to its end.
fn tidy_up(work: &Path) {
    let _ = Command::new("umount").arg("-l").arg(work.join("on")).stderr(Stdio::null()).status();
    let _ = std::fs::remove_dir_all(work);
    for arenas in std::fs::read_dir(ARENAS).into_iter().flatten().flatten() {
        let name = arenas.file_name();
        let left = name.to_str().and_then(|it| it.strip_prefix(ARENAS_NAME)?.split('-').next());
        if left.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(arenas.path());
        }
    }
}
