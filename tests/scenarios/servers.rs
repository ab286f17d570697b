//! Real servers and their client programs, through the mesh.

use std::{io::Write, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use weft_tests::{
    load::Pattern,
    mesh::{Description, Mesh, Pod, mesh},
    programs,
    suite::Area,
};

pub(crate) fn area() -> Area {
    Area::new("servers", one_server)
        .scenario(
            "nginx",
            "curl fetches whole and partial pages from nginx, which sees the real client address.",
            nginx,
        )
        .scenario("redis", "redis-cli stores, pipelines and reads back values of redis.", redis)
        .scenario(
            "postgres",
            "psql creates, fills, reads and copies out a table of PostgreSQL, which sees the real client address.",
            postgres,
        )
        .within(Duration::from_secs(120))
        .scenario("mariadb", "mariadb, whose server sends first, creates, fills and reads a table.", mariadb)
        .within(Duration::from_secs(120))
        .scenario(
            "openssh",
            "ssh, where both sides send first, runs commands and copies bytes both ways.",
            openssh,
        )
}

/// A pod for all servers, a service in front of it, and a client on each node.
fn one_server() -> Description {
    let ports = [80, 6379, 5432, 3306, 22];
    mesh("servers")
        .pod("server", |pod| pod.node("b").meshed().policy("all-authenticated"))
        .pod("far-client", |pod| pod.node("a").meshed())
        .pod("near-client", |pod| pod.node("b").meshed())
        .service("server", |service| {
            ports.into_iter().fold(service, |service, port| service.port(port, port))
        })
}

/// Runs `check` from the other node and from the server's node, and checks by the metrics that it went through the
/// mesh.
fn from_both(mesh: &Mesh, mut check: impl FnMut(&Pod) -> Result<()>) -> Result<()> {
    for (client, node, tls) in [("far-client", "a", "true"), ("near-client", "b", "local")] {
        let proxy = mesh.proxy(node).watch()?;
        check(&mesh.pod(client)).context(client)?;
        let labels = [("direction", "outbound"), ("peer", "dst"), ("pod", client), ("tls", tls)];
        proxy.expect_some("tcp_open_total", &labels)?;
    }
    Ok(())
}

fn nginx(mesh: &Mesh) -> Result<()> {
    const LENGTH: usize = 5_000_000;
    let _nginx = programs::nginx(&mesh.pod("server"), 80, LENGTH)?;
    let mut page = vec![0; LENGTH];
    Pattern::new(0).fill(&mut page);
    from_both(mesh, |client| {
        let curl = |arguments: &[&str]| -> Result<Vec<u8>> {
            let mut command = client.command("curl")?;
            let output = command
                .args(["--silent", "--show-error", "--fail", "--max-time", "30"])
                .args(arguments)
                .output()?;
            ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
            Ok(output.stdout)
        };
        for family in ["-4", "-6"] {
            ensure!(curl(&[family, "http://server/page"])? == page, "the page differs");
            let part = curl(&[family, "--range", "1000000-1999999", "http://server/page"])?;
            ensure!(part == page[1_000_000..2_000_000], "the part differs");
        }
        let own = client.v4.to_string();
        let seen = String::from_utf8(curl(&["-4", "http://server/client"])?)?;
        ensure!(seen == own, "nginx saw {seen:?} as the client {own}");
        Ok(())
    })
}

fn redis(mesh: &Mesh) -> Result<()> {
    let _redis = programs::redis(&mesh.pod("server"), 6379)?;
    from_both(mesh, |client| {
        let cli = |arguments: &[&str]| client.run("redis-cli", &[&["-h", "server"], arguments].concat());
        ensure!(cli(&["ping"])?.trim() == "PONG");
        cli(&["flushall"])?;
        let value = "x".repeat(100_000);
        ensure!(cli(&["set", "large", &value])?.trim() == "OK");
        ensure!(cli(&["get", "large"])?.trim() == value);
        cli(&["-r", "500", "incr", "counter"])?;
        // Ten thousand pipelined commands.
        let mut command = client.command("redis-cli")?;
        command.args(["-h", "server", "--pipe"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut piping = command.spawn()?;
        let mut input = piping.stdin.take().context("stdin")?;
        (0..10_000).try_for_each(|i| write!(input, "SET key{i} {i}\r\n"))?;
        drop(input);
        let output = piping.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(said.contains("errors: 0, replies: 10000"), "redis-cli --pipe printed {said:?}");
        ensure!(cli(&["mget", "counter", "key9999"])?.split_whitespace().eq(["500", "9999"]));
        Ok(())
    })
}

fn postgres(mesh: &Mesh) -> Result<()> {
    let _postgres = programs::postgres(&mesh.pod("server"), 5432)?;
    from_both(mesh, |client| {
        let psql = |sql: &str| {
            client
                .run("psql", &["-h", "server", "-U", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql])
        };
        psql(
            "drop table if exists t; create table t as select i, md5(i::text) from generate_series(1, 100000) i",
        )?;
        let sum = psql("select count(*), sum(i), md5(string_agg(md5, '' order by i)) from t")?;
        ensure!(sum.starts_with("100000|5000050000|"), "psql printed {sum:?}");
        let all = psql("copy t to stdout")?;
        ensure!(all.lines().count() == 100_000, "{} lines were copied out", all.lines().count());
        ensure!(all.lines().any(|line| line == "1\tc4ca4238a0b923820dcc509a6f75849b"), "a line is missing");
        let seen = psql("select client_addr from pg_stat_activity where pid = pg_backend_pid()")?;
        let seen = seen.trim();
        ensure!(
            [client.v4.to_string(), client.v6.to_string()].iter().any(|own| own == seen),
            "postgres saw {seen:?}"
        );
        Ok(())
    })
}

fn mariadb(mesh: &Mesh) -> Result<()> {
    let _mariadb = programs::mariadb(&mesh.pod("server"), 3306)?;
    from_both(mesh, |client| {
        let sql = |text: &str| {
            let login =
                ["--no-defaults", "-h", "server", "-P", "3306", "-umesh", "-pmesh", "--connect-timeout=10"];
            client.run("mariadb", &[&login[..], &["-N", "-B", "-e", text, "mesh"]].concat())
        };
        sql("drop table if exists t; create table t (i int primary key, m char(32));
             insert into t select seq, md5(seq) from seq_1_to_50000")?;
        let sum = sql("select count(*), sum(i) from t")?;
        ensure!(sum.split_whitespace().eq(["50000", "1250025000"]), "mariadb printed {sum:?}");
        let all = sql("select * from t order by i")?;
        ensure!(all.lines().count() == 50_000, "{} rows were returned", all.lines().count());
        let user = sql("select user()")?;
        let user = user.trim();
        let own = [format!("mesh@{}", client.v4), format!("mesh@{}", client.v6)];
        ensure!(own.iter().any(|own| own == user), "mariadb saw {user:?}");
        Ok(())
    })
}

fn openssh(mesh: &Mesh) -> Result<()> {
    let sshd = programs::openssh(&mesh.pod("server"), 22)?;
    let key = sshd.file("user_key");
    let mut sent = vec![0; 3_000_000];
    Pattern::new(9).fill(&mut sent);
    from_both(mesh, |client| {
        let ssh = |command: &str| -> Result<std::process::Command> {
            let mut ssh = client.command("ssh")?;
            ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
            ssh.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10"]);
            ssh.arg("-i").arg(&key).args(["root@server", command]);
            Ok(ssh)
        };
        let output = ssh("echo $SSH_CLIENT; exit 7")?.output()?;
        ensure!(output.status.code() == Some(7), "ssh: {output:?}");
        let seen = String::from_utf8(output.stdout)?;
        let seen = seen.split(' ').next().unwrap_or_default();
        ensure!(
            [client.v4.to_string(), client.v6.to_string()].iter().any(|own| own == seen),
            "sshd saw {seen:?}"
        );

        // Both directions at once.
        let mut copy = ssh("cat")?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = copy.stdin.take().context("stdin")?;
        let output = std::thread::scope(|scope| {
            let sent = &sent;
            scope.spawn(move || input.write_all(sent));
            copy.wait_with_output()
        })?;
        ensure!(output.stdout == sent, "{} of {} bytes came back", output.stdout.len(), sent.len());
        Ok(())
    })
}
