//! What `up` says once everything serves: where everything is, the secrets, and first requests that work as pasted. Pure text.

use std::{
    fmt::{self, Display, Formatter},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use secrecy::{ExposeSecret, SecretString};
use signalbox_proto::admin::v1::{Route, route::Destination};

use crate::table::Table;

/// Everything that whoever has started the system needs to know.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Where clients connect.
    pub gateway: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Where data planes join.
    pub sync: SocketAddr,
    /// What operators present.
    pub admin_token: SecretString,
    /// What clients present; `None` = an operator has removed the key, or made it their own.
    pub client_key: Option<SecretString>,
    /// The folder with everything that is kept.
    pub data_dir: PathBuf,
    /// The database file.
    pub database: PathBuf,
    /// Whether the demo provider answers.
    pub demo: bool,
    /// The routes that the configuration's file has.
    pub routes: Vec<Mount>,
}

/// A route, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    path: String,
    target: String,
    proxy: String,
    disabled: bool,
}

impl Mount {
    /// What is said of a route below this base path.
    #[must_use]
    pub fn of(route: &Route, base_path: &str) -> Self {
        let id = route.name.strip_prefix("routes/").unwrap_or(&route.name);
        let target = match &route.destination {
            Some(Destination::TargetUrl(url)) => url.clone(),
            Some(Destination::Universal(_)) => "any public address".to_owned(),
            None => String::new(),
        };
        let proxy = match &route.forward_proxy {
            Some(proxy) if proxy.url.is_empty() => "direct".to_owned(),
            Some(proxy) => proxy.url.clone(),
            None => "as in the settings".to_owned(),
        };
        let segment = if route.segment.is_empty() { id } else { &route.segment };
        Self { path: format!("{base_path}/{segment}/"), target, proxy, disabled: route.disabled }
    }
}

/// The block as it is printed. Shows the secrets, and so is for the terminal of whoever has started the system, and for nothing else.
#[derive(Debug)]
pub struct Block<'a>(pub &'a Summary);

impl Display for Block<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Summary { sync, admin_token, client_key, data_dir, database, .. } = self.0;
        let admin_token = admin_token.expose_secret();
        let client_key = client_key.as_ref().map(ExposeSecret::expose_secret);
        writeln!(f, "Signalbox is up.\n")?;
        row(f, "Gateway", self.gateway_url())?;
        row(f, "Admin gRPC", self.admin())?;
        row(f, "Sync gRPC", sync)?;
        row(f, "Admin token", admin_token)?;
        match client_key {
            Some(key) => row(f, "Client key", key)?,
            None => row(f, "Client key", "none: an operator has removed clientKeys/default or made it their own")?,
        }
        row(f, "Database", database.display())?;
        row(f, "Data folder", data_dir.display())?;
        if !self.0.routes.is_empty() {
            writeln!(f, "\nRoutes:\n")?;
            let row = |mount: &Mount| {
                let state = if mount.disabled { "off" } else { "on" };
                vec![mount.path.clone(), mount.target.clone(), mount.proxy.clone(), state.to_owned()]
            };
            Table::new(&["Path", "Goes to", "Through", ""], self.0.routes.iter().map(row)).fmt(f)?;
        }
        writeln!(f, "\nTry it:\n")?;
        writeln!(f, "  {}\n", self.curl(client_key.unwrap_or("YOUR-CLIENT-KEY")))?;
        writeln!(f, "  {}\n", self.grpcurl(admin_token))
    }
}

impl Block<'_> {
    fn gateway_url(&self) -> String {
        format!("http://{}/v1", reachable(self.0.gateway))
    }

    fn admin(&self) -> SocketAddr {
        reachable(self.0.admin)
    }

    fn curl(&self, client_key: &str) -> String {
        let url = self.gateway_url();
        if self.0.demo {
            let body = r#"{"model":"demo/echo","messages":[{"role":"user","content":"hello"}]}"#;
            format!(
                "curl {url}/chat/completions -H 'authorization: Bearer {client_key}' -H 'content-type: application/json' -d '{body}'"
            )
        } else {
            format!("curl {url}/models -H 'authorization: Bearer {client_key}'")
        }
    }

    fn grpcurl(&self, admin_token: &str) -> String {
        let admin = self.admin();
        format!(
            "grpcurl -plaintext -H 'authorization: Bearer {admin_token}' {admin} signalbox.admin.v1.ProviderService/ListProviders"
        )
    }
}

fn row(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "  {name:<12} {value}")
}

/// Where to connect to reach a listener from this machine: one on every address is reached on loopback.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use signalbox_proto::config::v1::ForwardProxy;

    use super::*;

    fn summary() -> Summary {
        Summary {
            gateway: "127.0.0.1:8080".parse().unwrap(),
            admin: "127.0.0.1:9090".parse().unwrap(),
            sync: "127.0.0.1:9091".parse().unwrap(),
            admin_token: "admin-secret".into(),
            client_key: Some("sb_secret".into()),
            data_dir: "data".into(),
            database: "data/control.db".into(),
            demo: true,
            routes: Vec::new(),
        }
    }

    #[test]
    fn the_block_says_where_everything_is_and_how_to_begin() {
        let expected = "\
Signalbox is up.

  Gateway      http://127.0.0.1:8080/v1
  Admin gRPC   127.0.0.1:9090
  Sync gRPC    127.0.0.1:9091
  Admin token  admin-secret
  Client key   sb_secret
  Database     data/control.db
  Data folder  data

Try it:

  curl http://127.0.0.1:8080/v1/chat/completions -H 'authorization: Bearer sb_secret' -H 'content-type: application/json' -d '{\"model\":\"demo/echo\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'

  grpcurl -plaintext -H 'authorization: Bearer admin-secret' 127.0.0.1:9090 signalbox.admin.v1.ProviderService/ListProviders

";
        assert_eq!(Block(&summary()).to_string(), expected);
    }

    #[test]
    fn without_the_demo_the_first_request_lists_models() {
        let text = Block(&Summary { demo: false, ..summary() }).to_string();
        assert!(text.contains("curl http://127.0.0.1:8080/v1/models -H 'authorization: Bearer sb_secret'\n"), "{text}");
    }

    #[test]
    fn the_routes_of_a_file_are_listed() {
        let route = |id: &str, url: &str| Route {
            name: format!("routes/{id}"),
            destination: Some(Destination::TargetUrl(url.to_owned())),
            forward_proxy: Some(ForwardProxy {
                url: "http://proxy:1".into(),
                password: "hidden".into(),
                ..ForwardProxy::default()
            }),
            disabled: id == "b",
            ..Route::default()
        };
        let routes = [route("a", "http://one"), route("b", "http://two")]
            .iter()
            .map(|route| Mount::of(route, "/base"))
            .collect();
        let text = Block(&Summary { routes, ..summary() }).to_string();
        for row in
            [["/base/a/", "http://one", "http://proxy:1", "on"], ["/base/b/", "http://two", "http://proxy:1", "off"]]
        {
            assert!(text.lines().any(|line| row.iter().all(|word| line.contains(word))), "{row:?} in {text}");
        }
        assert!(!text.contains("hidden"), "{text}");
    }

    #[test]
    fn what_listens_everywhere_is_reached_on_loopback() {
        let gateway = "0.0.0.0:80".parse().unwrap();
        let admin = "[::]:9090".parse().unwrap();
        let text = Block(&Summary { gateway, admin, ..summary() }).to_string();
        assert!(text.contains("http://127.0.0.1:80/v1") && text.contains("[::1]:9090"), "{text}");
    }

    #[test]
    fn a_removed_client_key_is_said_to_be() {
        let text = Block(&Summary { client_key: None, ..summary() }).to_string();
        assert!(text.contains("Client key   none: an operator has removed"), "{text}");
    }

    #[test]
    fn a_summary_does_not_show_its_secrets() {
        let text = format!("{:?}", summary());
        assert!(!text.contains("admin-secret") && !text.contains("sb_secret"), "{text}");
    }
}
