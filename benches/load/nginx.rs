//! nginx, twice: as the upstream whose answer never changes, and as the plain reverse proxy that is the yardstick.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::{Running, Trouble, free_address};

/// The answer to a small chat, of half a kilobyte.
fn small_answer() -> String {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":200,"completion_tokens":60,"total_tokens":260}}}}"#,
        "word ".repeat(60)
    )
}

/// Starts the upstream that always says the same.
pub(crate) fn upstream(folder: &Path) -> Result<(Running, SocketAddr), Trouble> {
    let listen = free_address()?;
    let location = format!("default_type application/json; return 200 '{}';", small_answer());
    let server = format!("server {{ listen {listen} backlog=8192; location / {{ {location} }} }}");
    start("nginx-upstream", folder, 1, &server, listen).map(|it| (it, listen))
}

/// Starts the reverse proxy, before both upstreams; where it listens for the one and for the other.
pub(crate) fn proxy(
    folder: &Path,
    workers: usize,
    upstreams: [SocketAddr; 2],
) -> Result<(Running, [SocketAddr; 2]), Trouble> {
    let listens = [free_address()?, free_address()?];
    let mut servers = "map $http_upgrade $upgrade_or_none { default upgrade; '' ''; }\n".to_owned();
    for (at, (upstream, listen)) in upstreams.iter().zip(listens).enumerate() {
        servers += &format!(
            "upstream gateway{at} {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
             server {{ listen {listen} backlog=8192; location / {{
                 proxy_pass http://gateway{at}; proxy_http_version 1.1;
                 proxy_set_header Connection $upgrade_or_none; proxy_set_header Upgrade $http_upgrade;
                 proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 600s;
             }} }}\n"
        );
    }
    start("nginx-proxy", folder, workers, &servers, listens[0]).map(|it| (it, listens))
}

fn start(name: &str, folder: &Path, workers: usize, servers: &str, listen: SocketAddr) -> Result<Running, Trouble> {
    let here = folder.join(name);
    let path = here.join("nginx.conf");
    let prefix = here.display();
    let text = format!(
        "user root; worker_processes {workers}; daemon off; pid {prefix}/pid;
         error_log {prefix}/error.log warn;
         events {{ worker_connections 16000; }}
         http {{
             access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_max_body_size 0;
             client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy;
             fastcgi_temp_path {prefix}/fastcgi; uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;
             {servers}
         }}"
    );
    std::fs::create_dir_all(&here)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| Trouble::at(&path.display().to_string(), error))?;
    let mut nginx = Running::start(name, folder, Command::new("nginx").arg("-c").arg(&path))
        .map_err(|error| Trouble::said(format!("{error}; install nginx-light")))?;
    nginx.until_listening(listen)?;
    Ok(nginx)
}
