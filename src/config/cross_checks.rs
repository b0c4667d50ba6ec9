//! What single values cannot tell: combinations that cannot work.

use std::path::{Component, Path, PathBuf};

use super::address::{ListenAddress, ListenHost};
use super::keys::Config;
use super::sources::{Reader, quoted};
use crate::export::profile::CREDENTIALS;
use crate::otlp::TRACES_PATH;

pub(super) fn run(config: &Config, reader: &mut Reader<'_>) {
    let (proxy, api) = (&config.proxy, &config.api);
    if proxy.listen.port != 0 && proxy.listen == api.listen {
        let text = format!("{} is proxy.listen already; allowed: an address of its own", api.listen);
        reader.complain(&["proxy.listen", "api.listen"], text);
    }
    for (path, listen) in [("proxy.listen", &proxy.listen), ("api.listen", &api.listen)] {
        if listen.port == proxy.upstream.port && proxy.upstream.is_loopback() && hears_loopback(listen) {
            let text = format!("{} is this program's own {path}; allowed: the gateway's address", proxy.upstream);
            reader.complain(&[path, "proxy.upstream"], text);
        }
    }
    if config.capture.spill_bytes > config.capture.memory_bytes {
        reader.complain(
            &["capture.memory_bytes", "capture.spill_bytes"],
            "one direction's share is larger than the whole; allowed: at most capture.memory_bytes".to_owned(),
        );
    }
    let otlp = &config.otlp;
    if otlp.endpoint.as_ref().is_some_and(|it| it.path_prefix.ends_with(TRACES_PATH)) {
        let text = format!("{TRACES_PATH} is put behind it; allowed: the address without that");
        reader.complain(&["otlp.endpoint"], text);
    }
    if config.api.redact_profiles.get(&otlp.redact).is_none() {
        let text = format!(
            "no profile of api.redact_profiles is called {}; allowed: {CREDENTIALS}, or one of them",
            quoted(&otlp.redact)
        );
        reader.complain(&["api.redact_profiles", "otlp.redact"], text);
    }
    if let Some(cache) = &config.viewer.cache_dir
        && normal(&config.storage.data_dir).starts_with(normal(cache))
    {
        reader.complain(
            &["storage.data_dir", "viewer.cache_dir"],
            "the data folder would stand in the viewer's cache; allowed: a folder of its own".to_owned(),
        );
    }
}

fn hears_loopback(listen: &ListenAddress) -> bool {
    let every = matches!(&listen.host, ListenHost::Ip(ip) if ip.is_unspecified());
    listen.host == ListenHost::Any || every || listen.is_loopback()
}

/// The path with `.` and `a/..` removed by name alone; the disk is not asked.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            _ => normal.push(component),
        }
    }
    normal
}
