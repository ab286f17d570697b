//! What servers do with a connection.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use crate::{dial::RetryingReader, load::Plan};

/// A connection as accept() returned it.
pub struct Accepted {
    pub stream: TcpStream,
    /// The address that accept() returned.
    pub peer: SocketAddr,
}

/// Serves one connection; errors are collected as failures of the server.
pub type Behaviour = Arc<dyn Fn(&Accepted) -> io::Result<()> + Send + Sync>;

/// Sends everything back, and closes its half after the client has.
pub fn echo() -> Behaviour {
    Arc::new(|accepted| {
        let mut buffer = vec![0; 16 << 10];
        let mut to = &accepted.stream;
        loop {
            match RetryingReader(&accepted.stream).read(&mut buffer)? {
                0 => return accepted.stream.shutdown(Shutdown::Write),
                n => to.write_all(&buffer[..n])?,
            }
        }
    })
}

/// The server's side of a byte-checked [`Plan`].
pub fn exchange() -> Behaviour {
    Arc::new(|accepted| Plan::serve(&accepted.stream))
}

/// Sends a banner first, as mail, databases and ssh do, then echoes.
pub fn banner(text: &'static str) -> Behaviour {
    let rest = echo();
    Arc::new(move |accepted| {
        (&accepted.stream).write_all(text.as_bytes())?;
        rest(accepted)
    })
}

/// Sends its name and closes, so that a client knows which of several servers it has reached.
pub fn name(name: impl Into<String>) -> Behaviour {
    let name = name.into();
    Arc::new(move |accepted| send_and_close(&accepted.stream, &name))
}

/// Sends the addresses that it sees (accept(), getpeername(), getsockname(), one per line) and closes.
pub fn addresses() -> Behaviour {
    Arc::new(|accepted| {
        let stream = &accepted.stream;
        let seen = [accepted.peer, stream.peer_addr()?, stream.local_addr()?];
        send_and_close(stream, &seen.map(|address| address.to_string()).join("\n"))
    })
}

/// Reads until the client closes.
pub fn sink() -> Behaviour {
    Arc::new(|accepted| io::copy(&mut &accepted.stream, &mut io::sink()).map(drop))
}

/// Waits for the gate before it behaves as `rest`.
pub fn hold(gate: &Gate, rest: Behaviour) -> Behaviour {
    let gate = gate.clone();
    Arc::new(move |accepted| {
        gate.wait();
        rest(accepted)
    })
}

/// Opens once, for everybody who waits.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // When the scenario has ended, no server thread may keep waiting.
        self.open();
    }
}

fn send_and_close(mut stream: &TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    // Closing with unread bytes would reset the connection before the client has read the text.
    io::copy(&mut stream, &mut io::sink()).map(drop)
}
