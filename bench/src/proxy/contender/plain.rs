//! nginx and Envoy as plain proxies: their configurations, where they are found, and which versions they are.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread::available_parallelism,
};

use super::{Contender, Error, command, free_address};

impl Contender {
    /// nginx as a plain proxy with a worker a core, connections kept alive, events passed on as they come, and a buffer that a whole
    /// answer fits in: with its own of 4 KiB, an answer of 32 KiB would cost it twice as much.
    ///
    /// # Errors
    /// [`Error`]
    pub fn nginx(upstream: SocketAddr, dir: &Path) -> Result<Self, Error> {
        let addr = free_address("nginx")?;
        let place = dir.display();
        let config = format!(
            "daemon off; master_process on; worker_processes auto; pid {place}/nginx.pid; error_log {place}/nginx.log warn;\n\
             worker_rlimit_nofile 65536; events {{ worker_connections 16384; }}\n\
             http {{\n\
             access_log {place}/nginx-access.log combined buffer=64k; client_max_body_size 64m; client_body_buffer_size 256k;\n\
             client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;\n\
             uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi; keepalive_requests 1000000;\n\
             upstream api {{ server {upstream}; keepalive 512; keepalive_requests 1000000; }}\n\
             server {{ listen {addr} backlog=4096 reuseport; location / {{ proxy_pass http://api; proxy_http_version 1.1;\n\
             proxy_set_header Connection ''; proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k;\n\
             proxy_busy_buffers_size 128k; proxy_read_timeout 3600s; }} }}\n\
             }}\n"
        );
        let path = dir.join("nginx.conf");
        fs::write(&path, config).map_err(|source| Error::Start { program: "nginx".to_owned(), source })?;
        let program = find("nginx")?;
        let mut command = command(&program)?;
        command.arg("-p").arg(dir).arg("-c").arg(&path).arg("-e").arg(dir.join("nginx.log"));
        let contender = Self::start("nginx", command, addr, dir.join("nginx.log"))?;
        Ok(Self { version: version(&program, "-v"), ..contender })
    }

    /// Envoy as a plain proxy with a worker a core.
    ///
    /// # Errors
    /// [`Error`]
    pub fn envoy(upstream: SocketAddr, dir: &Path) -> Result<Self, Error> {
        let addr = free_address("envoy")?;
        let socket = |addr: SocketAddr| serde_json::json!({ "socket_address": { "address": addr.ip().to_string(), "port_value": addr.port() } });
        let manager = serde_json::json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench", "stream_idle_timeout": "0s",
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "api", "timeout": "0s" } }] }] },
            "http_filters": [{ "name": "envoy.filters.http.router", "typed_config":
                { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } }],
        });
        let unlimited = serde_json::json!([{ "max_connections": 100_000, "max_requests": 100_000, "max_pending_requests": 100_000 }]);
        let config = serde_json::json!({ "static_resources": {
            "listeners": [{ "name": "bench", "address": socket(addr), "filter_chains": [{ "filters": [
                { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }] }],
            "clusters": [{ "name": "api", "type": "STATIC", "connect_timeout": "5s",
                "circuit_breakers": { "thresholds": unlimited },
                "load_assignment": { "cluster_name": "api", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": socket(upstream) } }] }] } }],
        } });
        let path = dir.join("envoy.json");
        let written = fs::write(&path, config.to_string());
        written.map_err(|source| Error::Start { program: "envoy".to_owned(), source })?;
        let (program, cores) = (find("envoy")?, available_parallelism().map_or(1, usize::from).to_string());
        let mut command = command(&program)?;
        command.args(["--concurrency", &cores, "--log-level", "error", "--disable-hot-restart", "-c"]).arg(&path);
        let contender = Self::start("Envoy", command, addr, dir.join("envoy.log"))?;
        Ok(Self { version: version(&program, "--version"), ..contender })
    }
}

fn find(program: &str) -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps nginx where only root looks.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut files = folders.map(|folder| folder.join(program));
    files.find(|file| file.is_file()).ok_or_else(|| Error::Missing { program: program.to_owned() })
}

/// What a program calls itself when it is asked.
fn version(program: &Path, flag: &str) -> Option<String> {
    let told = Command::new(program).arg(flag).output().ok()?;
    [told.stdout, told.stderr].iter().find_map(|text| version_in(&String::from_utf8_lossy(text)))
}

/// The first three numbers with points between them.
fn version_in(text: &str) -> Option<String> {
    let mut words = text.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    words.find(|word| word.split('.').filter(|number| !number.is_empty()).count() == 3).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_either_says() {
        assert_eq!(version_in("nginx version: nginx/1.22.1\n").as_deref(), Some("1.22.1"));
        let envoy = "/lib/python3.11/envoy  version: 90f19af2/1.40.0/Clean/RELEASE/BoringSSL";
        assert_eq!(version_in(envoy).as_deref(), Some("1.40.0"));
        assert_eq!(version_in("no such option"), None);
    }
}
