//! `api-log validate`: says that the configuration is right, and what it comes to.

use std::process::ExitCode;

use api_log::config::Config;

/// Tells what the configuration, which was read without complaint, makes the program do.
pub(crate) fn run(config: &Config) -> ExitCode {
    super::say(format_args!(
        "ok\nupstream  {}\nproxy     {}\napi       {}\ndata dir  {}\n",
        config.proxy.upstream,
        config.proxy.listen,
        config.api.listen,
        config.storage.data_dir.display(),
    ));
    ExitCode::SUCCESS
}
