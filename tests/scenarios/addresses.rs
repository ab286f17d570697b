//! The addresses that applications see: the same as without a mesh.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    backends::{self, Server},
    dial,
    mesh::Mesh,
    suite::Area,
    wait,
};

use crate::fixture::{each_place, serve, two_nodes};

pub(crate) fn area() -> Area {
    Area::new("addresses", two_nodes)
        .scenario(
            "client_sees_what_it_dialled",
            "The client's getpeername is the cluster IP that it dialled, and its getsockname its pod's own address.",
            client_sees_what_it_dialled,
        )
        .scenario(
            "server_sees_the_client",
            "accept() and getpeername show the client pod's address to the server, getsockname its own.",
            server_sees_the_client,
        )
        .scenario("own_service", "A pod that calls its own service reaches itself.", own_service)
        .scenario(
            "loopback_is_untouched",
            "Connections within a meshed pod over loopback do not go through the proxy.",
            loopback_is_untouched,
        )
        .scenario("udp_is_untouched", "Datagrams from and to a meshed pod are not affected.", udp_is_untouched)
        .scenario(
            "own_address",
            "A connection from a pod to its own address reaches its own server.",
            own_address,
        )
        .scenario(
            "nobody_listens",
            "A port without a listener refuses promptly; an unmeshed client sees the kernel's own reset.",
            nobody_listens,
        )
        .scenario(
            "loopback_listeners_stay_private",
            "A server that listens on 127.0.0.1 only cannot be reached from outside its pod.",
            loopback_listeners_stay_private,
        )
        .scenario(
            "proxy_listeners_are_private",
            "The listeners that the proxy has inside a pod cannot be reached from outside the pod.",
            proxy_listeners_are_private,
        )
}

fn client_sees_what_it_dialled(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (_, server) = serve(mesh, place, backends::echo())?;
        let client = mesh.pod("client");
        let service = mesh.service(place);
        let mapped = SocketAddrV6::new(service.v4.to_ipv6_mapped(), server.port(), 0, 0);
        let dialled: [(SocketAddr, IpAddr); 3] = [
            (service.at(server.port()), client.v4.into()),
            (service.at6(server.port()), client.v6.into()),
            (mapped.into(), client.v4.to_ipv6_mapped().into()),
        ];
        for (target, own) in dialled {
            let mut stream = client.connect(target)?;
            // The addresses must not depend on the state of the connection.
            for moment in ["before use", "in use"] {
                let (peer, local) = (stream.peer_addr()?, stream.local_addr()?.ip());
                ensure!(peer == target, "{moment}: getpeername is {peer}, dialled {target}");
                ensure!(local == own, "{moment}: getsockname is {local}, own is {own}");
                stream.write_all(b"?")?;
                stream.read_exact(&mut [0])?;
            }
        }
        server.no_failures()
    })
}

fn server_sees_the_client(mesh: &Mesh) -> Result<()> {
    each_place(mesh, |place| {
        let (pod, client) = (mesh.pod(place), mesh.pod("client"));
        let families: [(IpAddr, IpAddr); 2] =
            [(pod.v4.into(), client.v4.into()), (pod.v6.into(), client.v6.into())];
        for (own, from) in families {
            let server =
                pod.serve_on((unspecified(own), mesh.unused_port()).into(), backends::addresses())?;
            expect_seen(mesh, place, &server, own, from)?;
        }
        // A server of both families sees the IPv4 client as a mapped address, as it would without a mesh.
        let server = pod.serve(mesh.unused_port(), backends::addresses())?;
        expect_seen(mesh, place, &server, pod.v4.to_ipv6_mapped().into(), client.v4.to_ipv6_mapped().into())
    })
}

fn expect_seen(mesh: &Mesh, place: &str, server: &Server, own: IpAddr, from: IpAddr) -> Result<()> {
    let service = mesh.service(place);
    let target =
        if own.to_canonical().is_ipv4() { service.at(server.port()) } else { service.at6(server.port()) };
    let seen = ask(&mesh.pod("client").connect(target)?)?;
    let [accepted, peer, local] = seen[..] else { anyhow::bail!("the server saw {seen:?}") };
    ensure!(accepted.ip() == from, "accept() says {accepted}, the client is {from}");
    ensure!(peer.ip() == from, "getpeername says {peer}, the client is {from}");
    ensure!(local == SocketAddr::new(own, server.port()), "getsockname says {local}, own is {own}");
    server.no_failures()
}

fn ask(mut stream: &TcpStream) -> Result<Vec<SocketAddr>> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.lines().map(|line| line.parse().with_context(|| format!("address {line:?}"))).collect()
}

fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() }
}

fn own_service(mesh: &Mesh) -> Result<()> {
    let (pod, server) = serve(mesh, "near", backends::name("myself"))?;
    for target in [mesh.service("near").at(server.port()), mesh.service("near").at6(server.port())] {
        let mut answer = String::new();
        pod.connect(target)?.read_to_string(&mut answer).with_context(|| target.to_string())?;
        ensure!(answer == "myself", "{target} answered {answer:?}");
    }
    server.no_failures()
}

fn own_address(mesh: &Mesh) -> Result<()> {
    let (pod, server) = serve(mesh, "near", backends::name("myself"))?;
    for target in [pod.at(server.port()), pod.at6(server.port())] {
        let mut answer = String::new();
        pod.connect(target)?.read_to_string(&mut answer).with_context(|| target.to_string())?;
        ensure!(answer == "myself", "{target} answered {answer:?}");
    }
    server.no_failures()
}

fn loopback_is_untouched(mesh: &Mesh) -> Result<()> {
    let (pod, proxy) = (mesh.pod("near"), mesh.proxy("a").watch()?);
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = pod.serve_on(address.parse()?, backends::addresses())?;
        let stream = pod.connect(server.address())?;
        let seen = ask(&stream)?;
        ensure!(seen[0] == stream.local_addr()?, "{address}: the server saw {seen:?}");
        drop(stream);
        server.no_failures()?;
    }
    let opened = proxy.now()?.value("tcp_open_total", &[("pod", "near")]);
    ensure!(opened == 0.0, "the proxy counted {opened} connections");
    Ok(())
}

fn udp_is_untouched(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let server = mesh.pod("far").netns().run(|| UdpSocket::bind(("0.0.0.0", port)))??;
    let client = mesh.pod("client").netns().run(|| UdpSocket::bind("0.0.0.0:0"))??;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(dial::TIMEOUT))?;
    }
    let mut buffer = [0; 64];
    // First with an unconnected socket, then with a connected one.
    client.send_to(b"datagram", mesh.pod("far").at(port))?;
    let (n, from) = server.recv_from(&mut buffer)?;
    ensure!(&buffer[..n] == b"datagram" && from.ip() == IpAddr::from(mesh.pod("client").v4), "from {from}");
    server.send_to(b"answer", from)?;
    ensure!(client.recv(&mut buffer)? == 6);
    client.connect(mesh.pod("far").at(port))?;
    ensure!(client.peer_addr()? == mesh.pod("far").at(port));
    client.send(b"again")?;
    ensure!(server.recv(&mut buffer)? == 5);
    Ok(())
}

fn nobody_listens(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    for place in ["far", "near"] {
        // connect() succeeds at once, because the proxy accepts inside the pod; the refusal comes with the first read.
        for target in [mesh.service(place).at(port), mesh.pod(place).at(port), mesh.pod(place).at6(port)] {
            let refused = wait::promptly("the refusal", || -> Result<Vec<u8>> {
                let mut stream = mesh.pod("client").connect(target)?;
                let mut answer = Vec::new();
                // Either the write or the read fails.
                stream.write_all(b"anybody?")?;
                stream.read_to_end(&mut answer)?;
                Ok(answer)
            })?;
            ensure!(refused.is_err(), "{target} answered {refused:?}");
        }
        for target in [mesh.pod(place).at(port), mesh.pod(place).at6(port)] {
            let refused = wait::promptly("the reset", || mesh.pod("plain-client").connect(target))?;
            let kind = refused.as_ref().map_err(std::io::Error::kind);
            ensure!(kind.is_err_and(|kind| kind == std::io::ErrorKind::ConnectionRefused), "{refused:?}");
        }
    }
    Ok(())
}

fn loopback_listeners_stay_private(mesh: &Mesh) -> Result<()> {
    let port = mesh.unused_port();
    let server = mesh.pod("far").serve_on((Ipv4Addr::LOCALHOST, port).into(), backends::echo())?;
    let refused = wait::promptly("the reset", || mesh.pod("plain-client").connect(mesh.pod("far").at(port)))?;
    ensure!(refused.is_err(), "an unmeshed client was accepted");
    // connect() already fails if the refusal is quick enough.
    let answered = wait::promptly("the refusal", || {
        mesh.pod("client").connect(mesh.pod("far").at(port)).and_then(|mut stream| stream.read(&mut [0; 1]))
    })?;
    ensure!(answered.is_err(), "a meshed client was accepted: {answered:?}");
    server.untouched()
}

fn proxy_listeners_are_private(mesh: &Mesh) -> Result<()> {
    for port in [15001, 15006] {
        for target in [mesh.pod("far").at(port), mesh.pod("far").at6(port)] {
            let refused = wait::promptly("the reset", || mesh.pod("plain-client").connect(target))?;
            ensure!(refused.is_err(), "{target} accepts connections from outside");
        }
    }
    wait::until_ok_for(Duration::from_secs(5), "the pod's own server still answers", || {
        let (pod, server) = serve(mesh, "far", backends::name("far"))?;
        let mut answer = String::new();
        mesh.pod("client").connect(pod.at(server.port()))?.read_to_string(&mut answer)?;
        ensure!(answer == "far");
        Ok(())
    })
}
