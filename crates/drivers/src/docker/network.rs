//! The network of runs, and how they reach the server from it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bollard::models::ContainerInspectResponse;

use super::client::{Client, QUICK, Trouble};
use super::{DockerConfig, EngineKind, Facts, NetworkChoice};

/// How runs and the server reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The network as the engine calls it.
    pub network: String,
    /// Whether each run has a network of its own.
    pub has_own_network: bool,
    /// The server as runs reach it, without trailing slash.
    pub api_url: String,
    /// Where the server has to listen, too, for that.
    pub listen: Option<SocketAddr>,
    /// Whether ports of runs must be published to be reached from here.
    pub publishes: bool,
}

impl Reach {
    /// Finds out how runs reach the server.
    pub(super) async fn find(client: &Client, config: &DockerConfig) -> Result<Self, Trouble> {
        let facts = client.facts().await?;
        let is_local = client.endpoint().is_local();
        let network = match &config.network {
            NetworkChoice::Host => None,
            NetworkChoice::Bridge(name) => Some(name.as_str()),
            // In a network of its own, a rootless container does not reach the loopback of its host.
            NetworkChoice::Auto if facts.is_rootless && facts.kind == EngineKind::Podman => None,
            NetworkChoice::Auto => Some("bridge"),
        };
        let Some(network) = network else { return Ok(Self::of_host(config)) };
        let gateway = match &config.api_url {
            Some(_) => None,
            None => Some(gateway(client, facts, network).await?),
        };
        Ok(Self::of_bridge(config, facts, is_local, network, gateway))
    }

    fn of_host(config: &DockerConfig) -> Self {
        let ip = config.server.ip();
        let ip = if ip.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { ip };
        let address = SocketAddr::new(ip, config.server.port());
        Self {
            network: "host".to_owned(),
            has_own_network: false,
            api_url: config.api_url.clone().unwrap_or_else(|| format!("http://{address}")),
            listen: None,
            publishes: false,
        }
    }

    fn of_bridge(config: &DockerConfig, facts: &Facts, is_local: bool, network: &str, gateway: Option<IpAddr>) -> Self {
        let server = config.server;
        let (api_url, listen) = match (&config.api_url, gateway) {
            (Some(url), _) => (url.clone(), None),
            (None, Some(gateway)) if server.ip().is_loopback() => {
                let address = SocketAddr::new(gateway, server.port());
                (format!("http://{address}"), Some(address))
            }
            (None, Some(gateway)) if server.ip().is_unspecified() => {
                (format!("http://{}", SocketAddr::new(gateway, server.port())), None)
            }
            (None, _) => (format!("http://{server}"), None),
        };
        let publishes = facts.is_rootless || !is_local;
        Self { network: network.to_owned(), has_own_network: true, api_url, listen, publishes }
    }
}

/// The host's own address in a bridge.
async fn gateway(client: &Client, facts: &Facts, network: &str) -> Result<IpAddr, Trouble> {
    // Podman takes `bridge` for its default network, but does not know it by that name.
    let known_as = if facts.kind == EngineKind::Podman && network == "bridge" { "podman" } else { network };
    let found = client.within(QUICK, client.docker().await?.inspect_network(known_as, None)).await?;
    let configs = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let gateway = configs.iter().find_map(|config| {
        let written = config.gateway.as_deref().and_then(|gateway| gateway.parse::<IpAddr>().ok());
        written.or_else(|| first_address(config.subnet.as_deref()?)).filter(IpAddr::is_ipv4)
    });
    gateway.ok_or_else(|| Trouble::Refused {
        status: 0,
        message: format!("the network {network} has no gateway: choose another one, or set docker-api-url"),
    })
}

/// The first address of a network, which engines give to the gateway when nothing else is said.
fn first_address(subnet: &str) -> Option<IpAddr> {
    let network: Ipv4Addr = subnet.split('/').next()?.parse().ok()?;
    Some(IpAddr::V4(Ipv4Addr::from_bits(network.to_bits().checked_add(1)?)))
}

/// Where a port of a container is reached from here.
pub(super) fn address_of(reach: &Reach, container: &ContainerInspectResponse, port: u16) -> Option<SocketAddr> {
    if !reach.has_own_network {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let settings = container.network_settings.as_ref()?;
    if reach.publishes {
        let ports = settings.ports.as_ref()?.get(&format!("{port}/tcp"))?.as_ref()?;
        return ports.iter().find_map(|binding| {
            let ip: IpAddr =
                binding.host_ip.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(Ipv4Addr::LOCALHOST.into());
            let ip = if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip };
            Some(SocketAddr::new(ip, binding.host_port.as_deref()?.parse().ok()?))
        });
    }
    let networks = settings.networks.as_ref()?;
    let ip = networks.values().find_map(|network| network.ip_address.as_deref()?.parse::<IpAddr>().ok())?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Endpoint;

    fn reach(server: &str, api_url: Option<&str>, is_rootless: bool) -> Reach {
        let config = DockerConfig {
            data_dir: "/data".into(),
            instance: "abc".into(),
            endpoint: Endpoint::Unix("/socket".into()),
            network: NetworkChoice::Auto,
            server: server.parse().unwrap(),
            api_url: api_url.map(str::to_owned),
            tries_network: false,
            ephemeral: false,
            read_only: false,
            min_free_bytes: 0,
        };
        let facts = Facts::of(&Default::default(), &Default::default());
        let gateway = "172.17.0.1".parse().ok();
        Reach::of_bridge(&config, &Facts { is_rootless, ..facts }, true, "bridge", gateway)
    }

    #[test]
    fn a_server_on_loopback_listens_on_the_bridge_too() {
        let on_loopback = reach("127.0.0.1:3333", None, false);
        assert_eq!(on_loopback.api_url, "http://172.17.0.1:3333");
        assert_eq!(on_loopback.listen, "172.17.0.1:3333".parse().ok());
        let on_all = reach("0.0.0.0:3333", None, false);
        assert_eq!((on_all.api_url.as_str(), on_all.listen), ("http://172.17.0.1:3333", None));
        let on_one = reach("10.1.2.3:3333", None, false);
        assert_eq!((on_one.api_url.as_str(), on_one.listen), ("http://10.1.2.3:3333", None));
        let told = reach("127.0.0.1:3333", Some("http://playhouse:3333"), false);
        assert_eq!((told.api_url.as_str(), told.listen), ("http://playhouse:3333", None));
        assert!(reach("127.0.0.1:3333", None, true).publishes && !on_loopback.publishes);
    }

    #[test]
    fn the_gateway_is_the_first_address_where_none_is_told() {
        assert_eq!(first_address("10.88.0.0/16"), "10.88.0.1".parse().ok());
        assert_eq!(first_address("fd00::/64"), None);
    }
}
