//! What does a server do with a connection?

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use super::Accepted;
use crate::{dial::Steadfast, load::Plan};

/// Serves one connection; an error is one that the scenario should know about.
pub type Behaviour = Arc<dyn Fn(&Accepted) -> io::Result<()> + Send + Sync>;

/// Sends everything back and closes its half when the client closed its own.
pub fn echo() -> Behaviour {
    Arc::new(|accepted| {
        let mut buffer = vec![0; 16 << 10];
        let mut to = &accepted.stream;
        loop {
            match Steadfast(&accepted.stream).read(&mut buffer)? {
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

/// Speaks first, then echoes: as mail, databases and ssh do.
pub fn banner(text: &'static str) -> Behaviour {
    let rest = echo();
    Arc::new(move |accepted| {
        (&accepted.stream).write_all(text.as_bytes())?;
        rest(accepted)
    })
}

/// Says who it is and closes: tells a client which of several servers it reached.
pub fn name(name: impl Into<String>) -> Behaviour {
    let name = name.into();
    Arc::new(move |accepted| say_and_close(&accepted.stream, &name))
}

/// Says which addresses it sees (accept(), getpeername(), getsockname(), in this order, one a line) and closes.
pub fn addresses() -> Behaviour {
    Arc::new(|accepted| {
        let stream = &accepted.stream;
        let seen = [accepted.peer, stream.peer_addr()?, stream.local_addr()?];
        say_and_close(stream, &seen.map(|address| address.to_string()).join("\n"))
    })
}

/// Reads and forgets until the client closes.
pub fn sink() -> Behaviour {
    Arc::new(|accepted| io::copy(&mut &accepted.stream, &mut io::sink()).map(drop))
}

/// Neither reads nor writes until the gate opens, then goes on with `rest`.
pub fn hold(gate: &Gate, rest: Behaviour) -> Behaviour {
    let gate = gate.clone();
    Arc::new(move |accepted| {
        gate.wait();
        rest(accepted)
    })
}

/// Opens once, for all who wait.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody through, now and later.
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
        // The scenario's handle and the server's behaviour: when the former goes, no thread may stay behind.
        self.open();
    }
}

fn say_and_close(mut stream: &TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    // The client closes when it has read: closing with its bytes unread would reset the connection under the text.
    io::copy(&mut stream, &mut io::sink()).map(drop)
}
